// What tests ask of the open page. Plain functions; the caller appends what it wants to call.

function visible(element) {
  const box = element.getBoundingClientRect();
  const shown = element.checkVisibility({ visibilityProperty: true });
  return box.width > 0 && box.height > 0 && shown;
}

function describe(element) {
  const id = element.id ? '#' + element.id : '';
  const text = (element.innerText || element.name || '').trim().slice(0, 40);
  return element.tagName.toLowerCase() + id + (text ? ' "' + text + '"' : '');
}

function reachable() {
  return [...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
    .filter((e) => e.type !== 'hidden' && !e.disabled && visible(e));
}

// Colours, as [red, green, blue, alpha].
function rgba(text) {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

function background(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] > 0.99) return colour;
  }
  return [255, 255, 255, 1];
}

function luminance([r, g, b]) {
  const [x, y, z] = [r, g, b].map((c) => {
    c /= 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function texts() {
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (walker.currentNode.data.trim() && visible(walker.currentNode.parentElement)) {
      found.add(walker.currentNode.parentElement);
    }
  }
  return [...found];
}

function checkDocument(say) {
  const root = document.documentElement;
  if (!/^[a-z]{2,3}(-|$)/.test(root.lang)) say('the page has no lang');
  if (!document.title.trim()) say('the page has no title');
  if (document.querySelectorAll('main').length !== 1) say('the page has not exactly one main');
  if (root.scrollWidth > innerWidth) say('the page scrolls sideways: ' + root.scrollWidth + ' > ' + innerWidth);
  const zoom = document.querySelector('meta[name=viewport]');
  if (!zoom || /user-scalable|maximum-scale/.test(zoom.content)) say('the viewport is missing or forbids zooming');
  const levels = [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => Number(h.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) say('the page has not exactly one h1');
  levels.forEach((level, i) => {
    if (level > (levels[i - 1] || 0) + 1) say('heading ' + (i + 1) + ' skips a level');
  });
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => say('the id ' + id + ' is used twice'));
  document.querySelectorAll('img:not([alt])').forEach((e) => say(describe(e) + ' has no alt'));
}

function checkFields(say) {
  const silent = ['hidden', 'submit', 'button'];
  for (const field of document.querySelectorAll('input, select, textarea')) {
    // A hidden name tells password managers whose password a form asks for.
    if (silent.includes(field.type) || field.hidden) continue;
    const label = field.labels && [...field.labels].some((l) => l.textContent.trim());
    if (!label) say(describe(field) + ' has no label');
    const choice = ['checkbox', 'radio', 'search'].includes(field.type);
    if (!choice && !field.autocomplete) say(describe(field) + ' has no autocomplete');
    if (field.getAttribute('aria-invalid') === 'true' && !field.getAttribute('aria-describedby')) {
      say(describe(field) + ' is invalid, but nothing says why');
    }
  }
  for (const e of document.querySelectorAll('[aria-describedby], [aria-labelledby]')) {
    const ids = (e.getAttribute('aria-describedby') || '') + ' ' + (e.getAttribute('aria-labelledby') || '');
    for (const id of ids.split(/\s+/).filter(Boolean)) {
      if (!document.getElementById(id)) say(describe(e) + ' refers to #' + id + ', which is not there');
    }
  }
  for (const e of document.querySelectorAll('button, a[href]')) {
    if (!(e.textContent.trim() || e.getAttribute('aria-label'))) say(describe(e) + ' has no name');
  }
  for (const e of document.querySelectorAll('a[href^="#"]')) {
    if (!document.getElementById(e.hash.slice(1))) say(describe(e) + ' leads nowhere');
  }
}

function checkContrast(say) {
  for (const e of texts()) {
    const style = getComputedStyle(e);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = contrast(rgba(style.color), background(e));
    if (ratio < (large ? 3 : 4.5)) say(describe(e) + ' has a contrast of ' + ratio.toFixed(2));
  }
  for (const e of document.querySelectorAll('input:not([type=hidden]):not([type=checkbox]):not([type=radio]):not([hidden])')) {
    const ratio = contrast(rgba(getComputedStyle(e).borderTopColor), background(e.parentElement));
    if (ratio < 3) say('the edge of ' + describe(e) + ' has a contrast of ' + ratio.toFixed(2));
  }
}

// A link inside a note or a sentence may be lower (WCAG 2.5.8 asks for 24 pixels, 2.5.5 for 44).
function checkTargets(say) {
  for (const e of reachable()) {
    const boxes = [e, ...(e.labels || [])].map((x) => x.getBoundingClientRect());
    const height = Math.max(...boxes.map((box) => box.height));
    const width = Math.max(...boxes.map((box) => box.width));
    const least = e.tagName === 'A' && e.closest('p, li') ? 24 : 44;
    if (height < least - 0.5 || width < 24) {
      say(describe(e) + ' is a target of ' + width.toFixed(0) + ' by ' + height.toFixed(0));
    }
  }
}

function complaints() {
  const list = [];
  for (const check of [checkDocument, checkFields, checkContrast, checkTargets]) check((text) => list.push(text));
  return list;
}

// What has the focus; an invisible focus counts as another element.
function focused(e) {
  const style = getComputedStyle(e);
  const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  return seen ? describe(e) : describe(e) + ' (focus not visible)';
}

// Puts the focus before the first element, writes down in `tour` where it goes from there, and
// returns what Tab should reach, in the order of the eye.
function startTour() {
  if (document.activeElement) document.activeElement.blur();
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute('tabindex');
  if (!window.tour) document.addEventListener('focusin', (event) => window.tour.push(focused(event.target)));
  window.tour = [];
  return reachable()
    .map((e) => [e, e.getBoundingClientRect()])
    .sort(([, a], [, b]) => (Math.abs(a.top - b.top) > 4 ? a.top - b.top : a.left - b.left))
    .map(([e]) => describe(e));
}

// Whether a click on the element leaves for another page; marks the one that is left.
function leaves(e) {
  const link = e.closest('a[href]');
  const sends = e.form && e.type === 'submit' && (e.form.noValidate || e.form.checkValidity());
  window.left = Boolean(sends || (link && !link.getAttribute('href').startsWith('#')));
  return window.left;
}
