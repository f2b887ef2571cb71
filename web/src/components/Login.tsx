// Name and password, where the server asks who is there.
import { useState } from 'preact/hooks'
import type { Api } from '../../client/api'
import { text } from '../text'

export function Login({ api, onDone }: { api: Api; onDone: () => void }) {
  const [trouble, setTrouble] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    setBusy(true)
    const reply = await api.login(String(form.get('name')), String(form.get('password')))
    setBusy(false)
    if (reply.kind === 'ok') return onDone()
    setTrouble(reply.kind === 'aborted' ? null : reply.message)
  }
  return (
    <form class="login" onSubmit={(event) => void submit(event)}>
      <h2>{text.login.title}</h2>
      <label>
        {text.login.name}
        <input name="name" autocomplete="username" required />
      </label>
      <label>
        {text.login.password}
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      {trouble && <p role="alert">{trouble}</p>}
      <button type="submit" disabled={busy}>
        {text.login.submit}
      </button>
      <p class="hint">{text.login.hint}</p>
    </form>
  )
}
