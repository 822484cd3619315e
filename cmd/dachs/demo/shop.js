// Sends the events of the shop's buttons through the function that the tag provides. Without the tag (blocked,
// or not loaded yet) the shop works all the same.
'use strict';

function send(el) {
  const { event, product, amount, currency } = el.dataset;
  const options = {};
  if (product) options.props = { product };
  if (amount) options.revenue = { amount: Number(amount), currency };
  window.dachs?.(event, options);
}

document.addEventListener('click', (e) => {
  const el = e.target.closest('a[data-event]');
  if (el) send(el);
});

document.addEventListener('submit', (e) => {
  e.preventDefault(); // the address stays in the browser
  send(e.target);
  e.target.reset();
  e.target.querySelector('output').textContent = 'Counted. Nothing was sent but the click.';
});
