// The state of a camera as a word, a shape and a colour.
import type { PathState } from '../../client/types'
import { text } from '../text'
import { Icon } from './Icon'

export function StateChip({ state }: { state: PathState }) {
  return (
    <span class={`chip chip-${state}`}>
      <Icon name={state} size={14} />
      {text.states[state]}
    </span>
  )
}
