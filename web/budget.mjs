// Fails when the built pages outgrow their budget (gzip) or name a place outside this server.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const KB = 1024
const dist = process.argv[2] ?? 'dist'
const gzip = (path) => gzipSync(readFileSync(path), { level: 9 }).length
const files = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(gz|br|map)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
const sum = (paths, size) => paths.reduce((total, path) => total + size(path), 0)

const built = files(dist)
const isHls = (path) => /hls\.light-[^/]+\.js$/.test(path)
const budgets = [
  ['initial JS and CSS, gzip', sum(built.filter((path) => /\.(js|css)$/.test(path) && !isHls(path)), gzip), 45 * KB],
  ['hls.js chunk, gzip', sum(built.filter(isHls), gzip), 120 * KB],
  ['fallback page, raw', sum(files('fallback'), (path) => readFileSync(path).length), 15 * KB],
]

let over = false
for (const [name, size, limit] of budgets) {
  const bad = size > limit || size === 0
  over ||= bad
  console.log(`${bad ? 'OVER' : 'ok  '}  ${name}: ${(size / KB).toFixed(1)} of ${limit / KB} KB`)
}

const foreign = [...built, ...files('fallback')]
  .filter((path) => /\.(html|css)$/.test(path))
  .flatMap((path) => (readFileSync(path, 'utf8').match(/(?:src|href)="(?:https?:)?\/\/[^"]*|url\((?:https?:)?\/\/[^)]*/g) ?? []).map((link) => `${path}: ${link}`))
for (const link of foreign) console.log(`OFF-ORIGIN  ${link}`)
process.exit(over || foreign.length > 0 ? 1 : 0)
