// Build of the pages. Links are relative (`./assets/…`): the server may stand behind any prefix and serves the entry
// page at any depth. Compressed forms are made here, once, and embedded beside the files.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { defineConfig } from 'vitest/config'
import type { Plugin } from 'vite'

const SERVER = process.env['CAMPANILE_URL'] ?? 'http://127.0.0.1:8080'

function precompress(): Plugin {
  return {
    name: 'precompress',
    apply: 'build',
    writeBundle(options) {
      const folder = join(options.dir ?? 'dist', 'assets')
      for (const name of readdirSync(folder)) {
        const raw = readFileSync(join(folder, name))
        if (raw.length < 1024) continue
        const gzip = gzipSync(raw, { level: 9 })
        const brotli = brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: raw.length } })
        writeFileSync(join(folder, `${name}.gz`), gzip)
        writeFileSync(join(folder, `${name}.br`), brotli)
      }
    },
  }
}

export default defineConfig({
  base: './',
  plugins: [precompress()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    // `npm run dev` serves the pages and passes everything else on to a running server.
    proxy: { '^/api/': SERVER, '^/.*(\\.m3u8|\\.mpd|/hls/)': SERVER },
  },
  test: { environment: 'happy-dom', include: ['{client,src,tests}/**/*.test.{js,ts,tsx}'] },
})
