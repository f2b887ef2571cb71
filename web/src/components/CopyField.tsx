// A URL to take along. Without the clipboard (plain http on a LAN has none) the text is selected instead.
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { text } from '../text'
import { Icon } from './Icon'

export function CopyField({ name, hint, value }: { name: string; hint: string; value: string }) {
  const field = useRef<HTMLInputElement>(null)
  const [copied, setCopied] = useState(false)
  const id = useId()
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 2_000)
    return () => clearTimeout(timer)
  }, [copied])
  const copy = async () => {
    field.current?.select()
    setCopied(await toClipboard(value))
  }
  return (
    <div class="copy">
      <label for={id}>
        {name} <span class="hint">{hint}</span>
      </label>
      <div class="copy-row">
        <input id={id} ref={field} readOnly value={value} onFocus={(event) => event.currentTarget.select()} />
        <button type="button" aria-label={text.share.copyOf(name)} title={text.share.copyOf(name)} onClick={copy}>
          <Icon name={copied ? 'check' : 'copy'} size={18} />
        </button>
      </div>
      <span class="unseen" role="status">
        {copied ? text.share.copied : ''}
      </span>
    </div>
  )
}

async function toClipboard(value: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(value)
    return true
  } catch {
    // The old way still works on the selected field where the new one is missing.
    return document.execCommand('copy')
  }
}
