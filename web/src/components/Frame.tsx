// What every page has around it: skip link, name, way back, colours.
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import type { Api } from '../../client/api'
import logo from '../favicon.svg'
import { text } from '../text'
import { applyTheme, nextTheme, savedTheme } from '../theme'
import { Account } from './Account'
import { Icon } from './Icon'

/** `api` is null where a link was shown, which is nobody's. */
export function Frame({ root, api, children }: { root: URL; api: Api | null; children: ComponentChildren }) {
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
        {api && <Account api={api} />}
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
