// What every page has around it: skip link, name, way back, colours.
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import logo from '../favicon.svg'
import { text } from '../text'
import { applyTheme, nextTheme, savedTheme } from '../theme'
import { Icon } from './Icon'

export function Frame({ root, children }: { root: URL; children: ComponentChildren }) {
  const [theme, setTheme] = useState(savedTheme)
  const change = () => {
    const next = nextTheme(theme)
    applyTheme(next)
    setTheme(next)
  }
  return (
    <>
      <a class="skip" href="#content">
        {text.skip}
      </a>
      <header class="top">
        <a class="brand" href={root.pathname}>
          <img src={logo} alt="" width="28" height="28" />
          {text.product}
        </a>
        <button type="button" class="quiet" title={text.theme[theme]} aria-label={text.theme[theme]} onClick={change}>
          <Icon name={theme} />
        </button>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </>
  )
}
