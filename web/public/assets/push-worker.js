// The part of the page that stays when the page is closed: shows what the server says through Web Push, and opens the
// camera when somebody clicks. It keeps nothing, and answers no requests of pages. Its name is fixed, so that a browser
// finds its next version.
const root = new URL('../', self.location.href)

self.addEventListener('install', () => self.skipWaiting())

self.addEventListener('push', (event) => {
  event.waitUntil(show(read(event.data)))
})

self.addEventListener('notificationclick', (event) => {
  event.notification.close()
  event.waitUntil(open(event.notification.data?.url))
})

/** What the server said (`src/notify/push/content.rs`). Anything else is still a message: a browser wants one shown. */
function read(data) {
  try {
    const said = data?.json()
    if (typeof said?.title === 'string') return said
  } catch {
    // Not ours.
  }
  return { title: 'Campanile', body: data?.text() ?? '', tag: 'unknown' }
}

/** One notification for each alert: later news replaces it, aloud only if somebody should look again. */
function show({ title, body, tag, severity, alarm, time, url }) {
  return self.registration.showNotification(title, {
    body,
    tag,
    renotify: alarm === true,
    silent: alarm !== true,
    requireInteraction: alarm === true && severity === 'critical',
    timestamp: Date.parse(time) || Date.now(),
    data: { url },
  })
}

/** Shows the page in a window that is there, or in a new one. It never leaves this server. */
async function open(path) {
  const asked = new URL(typeof path === 'string' ? path : '', root)
  const target = asked.href.startsWith(root.href) ? asked.href : root.href
  const windows = await self.clients.matchAll({ type: 'window', includeUncontrolled: true })
  const shown = windows.find((client) => client.url === target)
  return shown ? shown.focus() : self.clients.openWindow(target)
}
