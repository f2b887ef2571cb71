import { describe, expect, it } from 'vitest'
import { parse } from '../fallback/assets/ll-hls.js'

const BASE = new URL('http://box/demo/main.m3u8')

const PLAYLIST = `#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6
#EXT-X-MEDIA-SEQUENCE:266
#EXT-X-MAP:URI="hls/init.mp4"
#EXTINF:2.0,
hls/266.m4s
#EXT-X-PART:DURATION=0.2,URI="hls/267.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.2,URI="hls/267.1.m4s",GAP=YES
#EXT-X-PART:DURATION=0.2,URI="hls/267.2.m4s"
#EXTINF:0.6,
hls/267.m4s
#EXT-X-PART:DURATION=0.2,INDEPENDENT=YES,URI="hls/268.0.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="hls/268.1.m4s"
`

describe('the fallback page’s playlist', () => {
  it('lists parts where they are named and whole segments before, and leaves gaps out', () => {
    const { items } = parse(PLAYLIST, BASE)
    expect(items.map(({ segment, part, url, independent }) => [segment, part, url.pathname, independent])).toEqual([
      [266, null, '/demo/hls/266.m4s', true],
      [267, 0, '/demo/hls/267.0.m4s', true],
      [267, 2, '/demo/hls/267.2.m4s', false],
      [268, 0, '/demo/hls/268.0.m4s', true],
    ])
    expect(items.every(({ map }) => map === 'http://box/demo/hls/init.mp4')).toBe(true)
  })

  it('leaves out segments that are not there, and counts them', () => {
    const { items } = parse(PLAYLIST.replace('#EXTINF:2.0,', '#EXT-X-GAP\n#EXTINF:2.0,'), BASE)
    expect(items.map(({ segment }) => segment)).toEqual([267, 267, 268])
  })

  it('knows what to ask for next', () => {
    expect(parse(PLAYLIST, BASE)).toMatchObject({ next: { segment: 268, part: 1 }, blocks: true, target: 4, ended: false })
    expect(parse(PLAYLIST.replace(/#EXT-X-PART:[^\n]*268[^\n]*\n/, ''), BASE).next).toEqual({ segment: 268, part: 0 })
    expect(parse('#EXTM3U\n#EXT-X-ENDLIST\n', BASE)).toMatchObject({ items: [], blocks: false, ended: true })
  })
})
