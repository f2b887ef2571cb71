// A sentence that something is wrong, what to do about it, and perhaps a button.
import type { ComponentChildren } from 'preact'

interface Props {
  title: string
  message?: string | null | undefined
  hint?: string | null | undefined
  tone?: 'bad' | 'warn' | 'plain'
  children?: ComponentChildren
}

export function Notice({ title, message, hint, tone = 'bad', children }: Props) {
  return (
    <div class={`notice notice-${tone}`} role={tone === 'bad' ? 'alert' : 'status'}>
      <strong>{title}</strong>
      {message && <p>{message}</p>}
      {hint && <p class="hint">{hint}</p>}
      {children}
    </div>
  )
}
