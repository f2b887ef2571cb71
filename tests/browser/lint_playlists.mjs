// Parses playlists with hls-parser in strict mode, which knows the rules of Low-Latency HLS: `node lint_playlists.mjs
// FILE…` prints [{"file", "problem"}…], an empty list when all is well.

import HLS from "hls-parser";
import { readFileSync } from "node:fs";

HLS.setOptions({ strictMode: true, silent: true });

// The parser wants parts in the last three segments only. The standard counts three target durations from the end
// (rfc8216bis §6.2.2), which are more segments when these are shorter than the target; the tests in Rust count so. Here
// the parts of earlier segments are taken out.
function withoutEarlyParts(text) {
  const lines = text.split("\n");
  const segments = lines.filter((line) => line && !line.startsWith("#")).length;
  let segment = 0;
  return lines
    .filter((line) => {
      if (line && !line.startsWith("#")) segment += 1;
      return !(line.startsWith("#EXT-X-PART:") && segment < segments - 2);
    })
    .join("\n");
}

const problems = [];
for (const file of process.argv.slice(2)) {
  try {
    HLS.parse(withoutEarlyParts(readFileSync(file, "utf8")));
  } catch (error) {
    problems.push({ file, problem: error.message });
  }
}
console.log(JSON.stringify(problems));
