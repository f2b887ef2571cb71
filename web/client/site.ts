// Where things are: the server's root seen through any proxy prefix, the path this page shows, the URLs to copy.
import type { Info } from './types'

/** The root of the server, from a module that was loaded as `{root}/{folder}/{file}`. */
export function rootOf(moduleUrl: string): URL {
  return new URL('../', moduleUrl)
}

/** The path a page URL names: `{root}{path}/` → `path`; the empty string is the start page. */
export function pathOf(root: URL, page: URL): string {
  if (!page.pathname.startsWith(root.pathname)) return ''
  const rest = page.pathname.slice(root.pathname.length)
  const segments = rest.split('/').filter((segment) => segment !== '')
  if (segments.at(-1) === 'index.html') segments.pop()
  // The same page for foreign pages to frame.
  if (segments[0] === 'embed') segments.shift()
  return segments.map(decode).join('/')
}

/** The token of a link, if the page was opened by one: it stands in the URLs of the path's media as well. */
export function tokenOf(page: URL): string | null {
  return page.searchParams.get('token')
}

export interface Urls {
  page: string
  hls: string
  /** Null when that door is closed. */
  whep: string | null
  /** Null when that door is closed. */
  rtsp: string | null
}

/** The URLs of one path, as a person on this network would type them; with the token of a link in each. */
export function urlsOf(root: URL, path: string, info: Info | null, token: string | null = null): Urls {
  const encoded = path.split('/').map(encodeURIComponent).join('/')
  const page = new URL(`${encoded}/`, root)
  const closed = info?.doors && !info.doors.some(({ name }) => name === 'webrtc' || name === 'whep')
  const query = token ? `?token=${encodeURIComponent(token)}` : ''
  const rtsp = rtspUrl(root, encoded, info)
  return {
    page: page.href + query,
    hls: new URL('index.m3u8', page).href + query,
    whep: closed ? null : new URL('whep', page).href + query,
    rtsp: rtsp && rtsp + query,
  }
}

const RTSP_PORT = '8554'

/** The server knows its port; the name by which the reader reached the page is the better host. */
function rtspUrl(root: URL, path: string, info: Info | null): string | null {
  const door = info?.doors?.find(({ name }) => name === 'rtsp')
  if (info?.doors && !door) return null
  const port = /^rtsp:\/\/(?:\[[^\]]*\]|[^/:]*)(?::(\d+))?/.exec(door?.urls[0] ?? '')?.[1]
  return `rtsp://${root.hostname}:${port ?? RTSP_PORT}/${path}`
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
