// Light, dark, or as the system says; kept on this device.

export type Theme = 'auto' | 'light' | 'dark'

const KEY = 'campanile.theme'
const ORDER: readonly Theme[] = ['auto', 'light', 'dark']

export function savedTheme(): Theme {
  try {
    const saved = localStorage.getItem(KEY) as Theme | null
    return saved && ORDER.includes(saved) ? saved : 'auto'
  } catch {
    // A browser that forbids storage still shows the page.
    return 'auto'
  }
}

export function nextTheme(theme: Theme): Theme {
  return ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length] ?? 'auto'
}

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset['theme'] = theme
  try {
    if (theme === 'auto') localStorage.removeItem(KEY)
    else localStorage.setItem(KEY, theme)
  } catch {
    // See above.
  }
}
