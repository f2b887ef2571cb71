// Opens a page in Chromium and runs scripts in it: `node open.mjs <<< '{"url": …, "scripts": [ … ], "seconds": …}'`.
//
// A script is the body of an async function in the page. Each but the last makes the page load anew, a moment after it has
// returned, and the next one runs there. What the last one returns is printed as
// {"result": …, "errors": […], "violations": […], "strangers": […]}: uncaught errors and error lines of the console, what the
// page's Content-Security-Policy refused, and requests that left the page's origin (there must be none: nothing is loaded
// from elsewhere).

import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";
import { browser } from "./chromium.mjs";

const { url, scripts, seconds } = JSON.parse(readFileSync(0, "utf8"));
const instance = await chromium.launch({
  executablePath: browser(),
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
  ],
});
try {
  const page = await instance.newPage();
  const errors = [];
  const violations = [];
  await page.exposeFunction("violated", (what) => violations.push(what));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violated(`${event.effectiveDirective} ${event.blockedURI}`);
    });
  });
  const strangers = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (line) => {
    if (line.type() === "error") errors.push(line.text());
  });
  page.on("request", (request) => {
    const target = request.url();
    if (/^(https?|wss?):/.test(target) && new URL(target).host !== new URL(url).host) strangers.push(target);
  });
  await page.goto(url, { waitUntil: "domcontentloaded", timeout: 30_000 });
  const end = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`the scripts did not end in ${seconds} s`)), seconds * 1000).unref();
  });
  let result;
  for (const [turn, script] of scripts.entries()) {
    const isLast = turn + 1 === scripts.length;
    const anew = isLast ? null : page.waitForEvent("framenavigated", { timeout: seconds * 1000 });
    result = await Promise.race([page.evaluate(`(async () => { ${script} })()`), end]);
    if (anew) await anew.then(() => page.waitForLoadState("domcontentloaded"));
  }
  console.log(JSON.stringify({ result: result ?? null, errors, violations, strangers }));
} finally {
  await instance.close();
}
