// Notifications from the button to the screen, in Chromium: `node push_page.mjs URL CERTIFICATE KEY CHANNEL`.
//
// Chromium's own push service is on the Internet. So `pushManager` of the page is ours (with the keys of
// `push_service.mjs`, which opens what the server sends), and what was opened is handed to the page's worker by the
// debugger, as the browser does it. The worker, its registration and what it shows are the real ones.

import { chromium } from "playwright-core";
import { browser } from "./chromium.mjs";
import { serve } from "./push_service.mjs";

async function until(what, look) {
  for (const end = Date.now() + 30_000; Date.now() < end; ) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not come`);
}

const [url, certificate, key, channel] = process.argv.slice(2);
const origin = new URL(url).origin;
const messages = [];
const service = await serve(certificate, key, (message) => messages.push(message));
const instance = await chromium.launch({
  executablePath: browser(),
  args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const context = await instance.newContext();
  await context.grantPermissions(["notifications"], { origin });
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (line) => line.type() === "error" && errors.push(line.text()));
  await page.addInitScript((subscription) => {
    let made = null;
    const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)).buffer;
    PushManager.prototype.getSubscription = async () => made;
    PushManager.prototype.subscribe = async ({ applicationServerKey, userVisibleOnly }) => {
      if (!userVisibleOnly) throw new Error("browsers want every message shown");
      made = {
        options: { applicationServerKey: bytes(applicationServerKey) },
        toJSON: () => subscription,
        unsubscribe: async () => ((made = null), true),
      };
      return made;
    };
  }, service.subscription);

  const debug = await context.newCDPSession(page);
  const registrations = new Map();
  debug.on("ServiceWorker.workerRegistrationUpdated", (event) => {
    for (const registration of event.registrations) registrations.set(registration.scopeURL, registration.registrationId);
  });
  await debug.send("ServiceWorker.enable");
  await page.goto(url, { waitUntil: "domcontentloaded", timeout: 30_000 });
  await page.getByRole("button", { name: "Enable notifications" }).click({ timeout: 30_000 });
  await page.getByRole("button", { name: "Stop notifications here" }).waitFor({ timeout: 30_000 });
  const subscribed = (await (await fetch(new URL("api/v1/push/subscriptions", url))).json()).items;

  const tried = await (await fetch(new URL(`api/v1/channels/${channel}/test`, url), { method: "POST" })).json();
  const message = await until("a message", () => messages[0]);
  const scope = await page.evaluate(async () => {
    const all = await navigator.serviceWorker.getRegistrations();
    return all[0].scope;
  });
  const registrationId = await until("the worker", () => registrations.get(scope));
  const deliver = (data) => debug.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data });
  const shown = () =>
    page.evaluate(async () => {
      const [registration] = await navigator.serviceWorker.getRegistrations();
      const all = await registration.getNotifications();
      return all.map(({ title, body, tag, data }) => ({ title, body, tag, data }));
    });
  await deliver(JSON.stringify(message.content));
  const first = await until("a notification", async () => (await shown())[0]);
  // Later news of the same alert takes its place.
  await deliver(JSON.stringify({ ...message.content, title: "Over", alarm: false }));
  await until("the end", async () => (await shown()).some(({ title }) => title === "Over"));
  const afterwards = await shown();

  await page.getByRole("button", { name: "Stop notifications here" }).click();
  await page.getByRole("button", { name: "Enable notifications" }).waitFor({ timeout: 30_000 });
  const left = (await (await fetch(new URL("api/v1/push/subscriptions", url))).json()).items;
  console.log(JSON.stringify({ subscribed, tried, message, first, afterwards, left, errors }));
} finally {
  await instance.close();
  service.close();
}
