// The light build ships no types under its export.
declare module 'hls.js/light' {
  export * from 'hls.js'
  export { default } from 'hls.js'
}
