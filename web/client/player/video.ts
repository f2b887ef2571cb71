// What a `<video>` says of what it plays, whatever the browser.

export function frameCounts(video: HTMLVideoElement): { frames: number; dropped: number } {
  const quality = video.getVideoPlaybackQuality?.()
  return { frames: quality?.totalVideoFrames ?? 0, dropped: quality?.droppedVideoFrames ?? 0 }
}

/** A number that rises while there is something to see, or, without a picture, to hear. */
export function motionOf(video: HTMLVideoElement): number {
  const { frames } = frameCounts(video)
  return video.videoWidth > 0 && frames > 0 ? frames : video.currentTime
}

interface AudioHints {
  audioTracks?: { length: number }
  mozHasAudio?: boolean
  webkitAudioDecodedByteCount?: number
}

export function hasAudio(video: HTMLVideoElement): boolean {
  const stream = video.srcObject as MediaStream | null
  if (stream) return stream.getAudioTracks().length > 0
  const hints = video as HTMLVideoElement & AudioHints
  return (hints.audioTracks?.length ?? 0) > 0 || hints.mozHasAudio === true || (hints.webkitAudioDecodedByteCount ?? 0) > 0
}
