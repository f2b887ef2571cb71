// Parses playlists with hls-parser in strict mode, which knows the rules of Low-Latency HLS: `node lint_playlists.mjs
// FILE…` prints [{"file", "problem"}…], an empty list when all is well.

import HLS from "hls-parser";
import { readFileSync } from "node:fs";

HLS.setOptions({ strictMode: true, silent: true });

const problems = [];
for (const file of process.argv.slice(2)) {
  try {
    HLS.parse(readFileSync(file, "utf8"));
  } catch (error) {
    problems.push({ file, problem: error.message });
  }
}
console.log(JSON.stringify(problems));
