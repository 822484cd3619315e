// Comfort only: every page works without this file.

// Buttons that copy the text of another element.
for (const button of document.querySelectorAll('[data-copy]')) {
  if (!navigator.clipboard) continue; // needs HTTPS or localhost
  button.hidden = false;
  button.addEventListener('click', async () => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Select the line and copy it';
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// The browser's time zone is a better first guess than UTC.
for (const input of document.querySelectorAll('[data-zone]')) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && input.value === 'UTC') input.value = zone;
}

// The numbers under the pointer, at once instead of after the delay of a tooltip.
const readout = document.querySelector('[data-readout]');
const plot = document.querySelector('.plot');
if (readout && plot) {
  for (const at of plot.querySelectorAll('.at')) {
    const title = at.querySelector('title');
    at.dataset.text = title.textContent;
    title.remove(); // or both would show
  }
  plot.addEventListener('pointermove', (event) => {
    const at = event.target.closest('.at');
    readout.textContent = at ? at.dataset.text : '';
  });
  plot.addEventListener('pointerleave', () => { readout.textContent = ''; });
}

// A popover closes on Escape and on a click beside it.
const close = (keep) => {
  for (const pop of document.querySelectorAll('details.pop[open]')) if (pop !== keep) pop.open = false;
};
document.addEventListener('click', (event) => close(event.target.closest('details.pop')));
document.addEventListener('keydown', (event) => {
  const pop = event.key === 'Escape' && document.querySelector('details.pop[open]');
  if (!pop) return;
  pop.open = false;
  pop.querySelector('summary').focus();
});
