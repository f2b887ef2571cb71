// Chooses the page by the URL: `{root}` is the start page, `{root}{path}/` the player of that path.
import { render } from 'preact'
import { Api } from '../client/api'
import { pathOf, rootOf, tokenOf } from '../client/site'
import './styles/ground.css'
import './styles/frame.css'
import './styles/start-page.css'
import './styles/player-page.css'
import './styles/picture.css'
import { Frame } from './components/Frame'
import { PlayerPage } from './pages/PlayerPage'
import { StartPage } from './pages/StartPage'
import { text } from './text'
import { applyTheme, savedTheme } from './theme'

const root = rootOf(import.meta.url)
const page = new URL(location.href)
const name = pathOf(root, page)
const token = tokenOf(page)
const api = new Api(root, token)
document.documentElement.classList.toggle('embed', page.pathname.startsWith(`${root.pathname}embed/`))
applyTheme(savedTheme())
document.title = name ? `${name} · ${text.product}` : text.product

const app = document.getElementById('app')
if (app) {
  render(
    <Frame root={root} api={token ? null : api}>
      {name ? <PlayerPage api={api} root={root} name={name} token={token} /> : <StartPage api={api} root={root} />}
    </Frame>,
    app,
  )
}
