// The list of tasks, kept by the API at /api/{user_id}/tasks.
'use strict';

const api = '/api/' + document.body.dataset.user + '/tasks';
const list = document.getElementById('tasks');
const problem = document.getElementById('problem');

async function call(method, path, body) {
  const options = { method, headers: { accept: 'application/json' } };
  if (body) {
    options.headers['content-type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  const response = await fetch(api + path, options);
  if (response.status === 401) location.reload(); // signed out elsewhere: the page leads to the sign-in
  if (!response.ok) throw new Error('The server answered ' + response.status + '.');
  return response.status === 204 ? null : response.json();
}

function row(task) {
  const item = document.createElement('li');
  const tick = document.createElement('input');
  const label = document.createElement('label');
  const remove = document.createElement('button');
  item.className = task.done ? 'done' : '';
  tick.type = 'checkbox';
  tick.id = 'task-' + task.id;
  tick.checked = task.done;
  tick.onchange = () => attempt(() => call('PUT', '/' + task.id, { done: tick.checked }));
  label.htmlFor = tick.id;
  label.textContent = task.title;
  remove.textContent = '×';
  remove.setAttribute('aria-label', 'Delete ' + task.title);
  remove.onclick = () => attempt(() => call('DELETE', '/' + task.id));
  item.append(tick, label, remove);
  return item;
}

async function show() {
  const tasks = await call('GET', '');
  const focused = document.activeElement.id;
  list.replaceChildren(...tasks.map(row));
  document.getElementById('empty').hidden = tasks.length > 0;
  if (focused.startsWith('task-')) document.getElementById(focused)?.focus();
}

async function attempt(change) {
  try {
    await change();
    await show();
    problem.hidden = true;
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

document.getElementById('new').onsubmit = (event) => {
  event.preventDefault();
  const field = document.getElementById('title');
  attempt(async () => {
    await call('POST', '', { title: field.value });
    field.value = '';
  });
};

attempt(() => null);
