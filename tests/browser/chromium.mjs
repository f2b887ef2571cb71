// Where Chromium is.

import { execFileSync } from "node:child_process";

export function browser() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      // Not this one.
    }
  }
  throw new Error("no chromium in PATH; the variable CHROMIUM may name one");
}
