// Line icons on a 24-unit grid, drawn here so that nothing is loaded for them.

const PATHS = {
  play: 'M7 4.500v15l12-7.500z',
  pause: 'M8 5v14M16 5v14',
  sound: 'M4 9.500v5h3.500L12 18.500v-13L7.500 9.500zM15.500 9a4.200 4.200 0 0 1 0 6M18 6.500a7.800 7.800 0 0 1 0 11',
  muted: 'M4 9.500v5h3.500L12 18.500v-13L7.500 9.500zM16 9.500l5 5M21 9.500l-5 5',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  leaveFull: 'M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5',
  pip: 'M3.500 5.500h17v13h-17zM12 12h6v4.500h-6z',
  stats: 'M4 20V10M10 20V4M16 20v-8M21 20H3',
  copy: 'M9 9h11v11H9zM5.500 15H4V4h11v1.500',
  check: 'M5 12.500l4.500 4.500L19 7.500',
  back: 'M14.500 5.500L8 12l6.500 6.500',
  auto: 'M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16',
  light: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400',
  dark: 'M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z',
  eye: 'M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6',
  video: 'M3.500 6.500h12v11h-12zM15.500 10.500l5-3v9l-5-3z',
  // States differ by shape too, not by colour alone.
  ready: 'M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10z',
  idle: 'M8 12h8',
  waiting: 'M6 12h.01M12 12h.01M18 12h.01',
  stalled: 'M12 5v8M12 18h.01',
  lost: 'M6.500 6.500l11 11M17.500 6.500l-11 11',
} as const

export type IconName = keyof typeof PATHS

const FILLED: readonly IconName[] = ['play', 'ready']

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg
      class={FILLED.includes(name) ? 'icon icon-filled' : 'icon'}
      width={size}
      height={size}
      viewBox="0 0 24 24"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  )
}
