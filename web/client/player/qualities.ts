// What a viewer may choose from, in words that tell one from the other.

export interface Level {
  height: number
  bitrate: number
  name?: string
}

/** `720p`, with its bit rate where two levels are of one height; what has no height goes by its name or place. */
export function labels(levels: readonly Level[]): string[] {
  const heights = levels.map((level) => level.height)
  return levels.map(({ height, bitrate, name }, place) => {
    if (!height) return name || `${place + 1}`
    const isAlone = heights.filter((other) => other === height).length === 1
    return isAlone || !bitrate ? `${height}p` : `${height}p, ${(bitrate / 1e6).toFixed(1)} Mbit/s`
  })
}
