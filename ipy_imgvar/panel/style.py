"""The panel's style sheet, and the few lines of script that let a picture be dropped on it.

Colours are the front end's variables, so light and dark themes both work. ipywidgets marks a widget without a kernel
with a class, and the style sheet then shows a text, since no Python runs.
"""

from __future__ import annotations

from typing import Final

__all__ = ["HEAD", "OFFLINE", "ROOT"]

#: The class of the panel's outermost element.
ROOT: Final = "imgvar-panel"

#: HTML of the text for a panel without a kernel; the style sheet hides it as long as there is one.
OFFLINE: Final = (
    '<div class="imgvar-offline" role="note"><b>Not connected.</b> This panel has no kernel here; run its cell in a '
    "notebook. What was made is in the history there.</div>"
)

_CSS: Final = """
.imgvar-panel { max-width: 1080px; padding: 4px 2px; gap: 6px; overflow: hidden }
.imgvar-panel .widget-html, .imgvar-panel .widget-html-content { line-height: 1.4; height: auto; min-height: 0;
  overflow: visible }
.imgvar-row { flex-flow: row wrap; gap: 6px 12px; align-items: center; overflow: visible }
.imgvar-row > * { margin: 0 }
.imgvar-source { gap: 12px 16px; flex-flow: row wrap; align-items: flex-start; overflow: visible }
.imgvar-source > .widget-vbox { flex: 1 1 380px; min-width: 0; gap: 6px; overflow: visible }
.imgvar-panel .widget-vbox { gap: 7px; overflow: visible }
.imgvar-drop { border: 1px dashed var(--jp-border-color1, #888); border-radius: 4px; padding: 8px; width: 274px;
  max-width: 100%; min-height: 200px; margin: 0; box-sizing: border-box; font-size: 90% }
.imgvar-over .imgvar-drop { outline: 2px solid var(--jp-brand-color1, #1976d2) }
.imgvar-panel .imgvar-upload { font-size: 0; width: auto }
.imgvar-panel .imgvar-upload::after { content: "Upload a picture"; font-size: 13px }
.imgvar-panel figcaption { font-size: 85%; overflow-wrap: anywhere; max-width: 256px }
.imgvar-wide figcaption { max-width: none }
.imgvar-hint { font-size: 85% }
.imgvar-panel [role="alert"] { border-left: 4px solid var(--jp-error-color1, #d32f2f); padding: 4px 8px;
  overflow-wrap: anywhere; background: var(--jp-layout-color2, transparent); color: inherit }
.imgvar-panel [role="status"] { border-left: 4px solid var(--jp-success-color1, #388e3c); padding: 4px 8px;
  overflow-wrap: anywhere; background: var(--jp-layout-color2, transparent) }
.imgvar-cards { align-items: start; overflow: visible }
.imgvar-card { position: relative; width: auto; min-width: 0; max-width: 100%; box-sizing: border-box;
  overflow: visible; padding: 3px; margin: 0; border-radius: 4px }
.imgvar-card .widget-checkbox { width: auto; margin: 0 }
.imgvar-card :is(.imgvar-row, .widget-checkbox, .widget-checkbox label) { position: static; overflow: visible }
.imgvar-card .widget-checkbox label { cursor: pointer }
.imgvar-card .widget-checkbox label::after { content: ""; position: absolute; inset: 0 }
.imgvar-card :is(.jupyter-button, input) { position: relative; z-index: 1 }
.imgvar-card .imgvar-row { gap: 6px }
.imgvar-card .jupyter-button { width: auto; padding: 0 6px }
.imgvar-card:has(input:checked) { outline: 2px solid var(--jp-brand-color1, #1976d2) }
.imgvar-card:focus-within { outline: 2px dashed var(--jp-brand-color1, #1976d2) }
.imgvar-panel .imgvar-short { width: auto; align-self: flex-start }
.imgvar-panel pre { white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; margin: 2px 0 8px; padding: 6px;
  background: var(--jp-layout-color2, transparent); border: 1px solid var(--jp-border-color2, #888) }
.imgvar-panel dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 12px; margin: 4px 0; font-size: 90% }
.imgvar-panel dd { margin: 0; overflow-wrap: anywhere }
.imgvar-panel progress { width: 16em; max-width: 60%; vertical-align: middle }
.imgvar-offline { display: none; border-left: 4px solid var(--jp-warn-color1, #f57c00); padding: 4px 8px }
.imgvar-panel.jupyter-widgets-disconnected .imgvar-offline { display: block }
.imgvar-panel.jupyter-widgets-disconnected::before { content: none }
.imgvar-panel.jupyter-widgets-disconnected :is(button, input, select, textarea) { opacity: .5; pointer-events: none }
.imgvar-panel .widget-inline-hbox { max-width: 100% }
"""

# ipywidgets' upload button takes no dropped file, and its file input is in no page where a script could find it. So the
# script clicks the button, and meanwhile replaces the input's `click` by a function that sets the dropped files.
_DROP: Final = """
const area = this.closest('.imgvar-panel').querySelector('.imgvar-source');
const mark = (event, over) => { event.preventDefault(); area.classList.toggle('imgvar-over', over); };
area.ondragover = (event) => mark(event, true);
area.ondragleave = (event) => mark(event, false);
area.ondrop = (event) => {
  mark(event, false);
  const files = event.dataTransfer.files, proto = HTMLInputElement.prototype, click = proto.click;
  if (!files.length) return;
  proto.click = function () { this.files = files; this.dispatchEvent(new Event('change')); };
  try { area.querySelector('.imgvar-upload').click(); } finally { proto.click = click; }
};
"""

#: HTML of the panel's first child. A style element's `onload` runs once it is in the page, where the script finds the
#: area.
HEAD: Final = f'<style onload="{" ".join(_DROP.split())}">{_CSS}</style>'
