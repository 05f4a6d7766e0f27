/**
 * Matrix factorization (section 15.3) in plain JavaScript: a port that answers with files.
 *
 * A rating is the inner product of the factors of user and item, plus one bias of the user and one
 * bias of the item (eq. 15.3.2):
 *
 *     r_hat[u, i] = p_u . q_i + b_u + b_i
 *
 * To check this port, run in the root of the checkout:
 *
 *     d2l-recsys baseline questions QUESTIONS --models mf --rungs 0-5,7
 *     node ports/javascript/mf.mjs QUESTIONS ANSWERS
 *     d2l-recsys baseline check ANSWERS --models mf --rungs 0-5,7
 *
 * `questions.json` lists the questions. Each function in `KINDS` (at the end of this file) answers
 * one kind of question: it gets the `given` arrays and the question, and returns the arrays of the
 * answer.
 */

import fs from "node:fs";
import path from "node:path";
import { DataError, readNpz, writeNpz } from "./npz.mjs";

// The type of weights and gradients. With Float32Array the port passes the check as well.
const Real = Float64Array;
const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8];

const scalar = (value) => ({ data: Float64Array.of(value), shape: [] });
const vector = (values) => ({ data: Float64Array.from(values), shape: [values.length] });
const triples = (rows) => ({ data: Int32Array.from(rows.flat()), shape: [rows.length, 3] });
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;

/** Apply `f` to each name and array. `f` returns a new pair, or null to leave the array out. */
const change = (arrays, f) =>
  Object.fromEntries(Object.entries(arrays).map(([name, array]) => f(name, array)).filter(Boolean));
const zeros = (arrays) =>
  change(arrays, (name, { data, shape }) => [name, { data: new Real(data.length), shape }]);
/** The arrays whose name begins with `part/`, without this prefix; `join` puts it back. */
const cut = (arrays, part) =>
  change(arrays, (name, array) =>
    name.startsWith(`${part}/`) ? [name.slice(part.length + 1), array] : null);
const join = (part, arrays) => change(arrays, (name, array) => [`${part}/${name}`, array]);
/** The arrays whose name begins with `part/`, converted to `Real`. */
const reals = (given, part) =>
  change(cut(given, part), (name, { data, shape }) => [name, { data: Real.from(data), shape }]);

// Rung 0.

/**
 * Split the ratings. The input has rows of user, item, rating and timestamp with ids from 1; the
 * output has rows of user, item and rating with ids from 0. The latest rating of each user is the
 * test rating. If several ratings of a user are equally late, it is the first of them in the file.
 */
function data({ ratings }) {
  const ofUsers = new Map();
  for (let at = 0; at < ratings.data.length; at += 4) {
    const [user, item, rating, time] = ratings.data.subarray(at, at + 4);
    if (!ofUsers.has(user)) ofUsers.set(user, []);
    ofUsers.get(user).push({ row: [user - 1, item - 1, rating], time });
  }
  const [train, test] = [[], []];
  for (const own of ofUsers.values()) {
    const heldOut = own.reduce((latest, next) => (next.time > latest.time ? next : latest));
    for (const rating of own) (rating === heldOut ? test : train).push(rating.row);
  }
  return { train: triples(train), test: triples(test) };
}

/** Only full batches: rows that do not fill a batch come first in the next epoch. */
function batches({ orders, batch_size: { data: [n] } }) {
  const full = orders.data.length - (orders.data.length % n);
  return { batches: { data: orders.data.slice(0, full), shape: [full / n, n] } };
}

// Rung 1.

/**
 * The test RMSE and the training loss.
 *
 * Defined: the RMSE of all test ratings (eq. 15.3.4), and the mean loss of the examples.
 *
 * Printed: after each batch, the chapter's code takes the mean RMSE of the batches so far, and the
 * result is the mean of these means. The code also keeps a running sum of the mean losses of the
 * batches. After each batch it adds this running sum to a total. The result is the total divided
 * by the number of examples.
 */
function metrics(given, { protocols: [protocol] }) {
  const [labels, predictions, losses] = [given.labels, given.predictions, given.losses]
    .map(({ data }) => Float64Array.from(data));
  const squares = labels.map((label, row) => (label - predictions[row]) ** 2);
  if (protocol === "defined") {
    return { test_rmse: scalar(Math.sqrt(mean(squares))), train_loss: scalar(mean(losses)) };
  }
  const rmses = parts(squares, given.test_batch_size.data[0]).map((part) => Math.sqrt(mean(part)));
  const runningMeans = rmses.map((_, batch) => mean(rmses.slice(0, batch + 1)));
  const means = parts(losses, given.losses.shape[1]).map(mean);
  const runningSums = means.map((_, batch) => sum(means.slice(0, batch + 1)));
  return {
    test_rmse: scalar(mean(runningMeans)),
    train_loss: scalar(sum(runningSums) / losses.length),
  };
}

/** Cut numbers into parts of `size`; the last part can be shorter. */
function parts(numbers, size) {
  const count = Math.ceil(numbers.length / size);
  return Array.from({ length: count }, (_, i) => numbers.subarray(i * size, (i + 1) * size));
}

// Rungs 2 and 3.

/** The predicted ratings of a batch, from the parameters `p`. */
function predict(p, { user_id: users, item_id: items }) {
  const [P, Q] = [p["P.weight"], p["Q.weight"]];
  const k = P.shape[1];
  return Real.from(users.data, (u, row) => {
    const i = items.data[row];
    let rating = p["user_bias.weight"].data[u] + p["item_bias.weight"].data[i];
    for (let f = 0; f < k; f++) rating += P.data[u * k + f] * Q.data[i * k + f];
    return rating;
  });
}

const errorsOf = (p, batch) => predict(p, batch).map((rating, n) => rating - batch.rating.data[n]);

/** Half the squared error, summed over the batch. */
const lossOf = (p, batch) => sum(errorsOf(p, batch).map((error) => error ** 2 / 2));

/** The gradients of this sum. If an id occurs twice, both gradients are added. */
function gradientsOf(p, batch) {
  const found = zeros(p);
  const [P, Q, k] = [p["P.weight"].data, p["Q.weight"].data, p["P.weight"].shape[1]];
  errorsOf(p, batch).forEach((error, row) => {
    const [u, i] = [batch.user_id.data[row], batch.item_id.data[row]];
    found["user_bias.weight"].data[u] += error;
    found["item_bias.weight"].data[i] += error;
    for (let f = 0; f < k; f++) {
      found["P.weight"].data[u * k + f] += error * Q[i * k + f];
      found["Q.weight"].data[i * k + f] += error * P[u * k + f];
    }
  });
  return found;
}

function forward(given) {
  return { output: vector(predict(reals(given, "parameters"), cut(given, "batch"))) };
}

/** Matrix factorization has no dropout, so training and evaluation have the same outputs. */
function dropout(given) {
  const { output } = forward(given);
  return { trained: output, evaluated: output };
}

function gradients(given) {
  const [p, batch] = [reals(given, "parameters"), cut(given, "batch")];
  return { loss: scalar(lossOf(p, batch)), ...join("gradients", gradientsOf(p, batch)) };
}

// Rungs 4 and 5.

/** The parameters and Adam's moments. Moments that are not given are 0. */
function stateOf(given) {
  const p = reals(given, "parameters");
  const [means, variances] = ["means", "variances"]
    .map((part) => ({ ...zeros(p), ...reals(given, part) }));
  return { p, means, variances, steps: given.steps?.data[0] ?? 0 };
}

/**
 * One step of MXNet's Adam, in place. The gradient is the mean over the batch plus weight decay.
 * Epsilon is added to the square root of v before the bias of v is corrected.
 */
function adam(state, batch, { lr, wd }) {
  state.steps += 1;
  const size = (lr * Math.sqrt(1 - BETA2 ** state.steps)) / (1 - BETA1 ** state.steps);
  const n = batch.rating.data.length;
  for (const [name, ofSum] of Object.entries(gradientsOf(state.p, batch))) {
    const [w, m, v] = [state.p, state.means, state.variances].map((part) => part[name].data);
    ofSum.data.forEach((gradient, at) => {
      const g = gradient / n + wd * w[at];
      m[at] = BETA1 * m[at] + (1 - BETA1) * g;
      v[at] = BETA2 * v[at] + (1 - BETA2) * g ** 2;
      w[at] -= (size * m[at]) / (Math.sqrt(v[at]) + EPSILON);
    });
  }
}

function step(given, { settings }) {
  const state = stateOf(given);
  adam(state, cut(given, "batch"), settings);
  return join("parameters", state.p);
}

/** One step on each batch. The loss of a batch is the loss before its step. */
function trajectory(given, { settings }) {
  const state = stateOf(given);
  const all = cut(given, "batches");
  const [count, n] = all.rating.shape;
  const losses = Array.from({ length: count }, (_, i) => {
    const batch = change(all, (name, { data }) =>
      [name, { data: data.subarray(i * n, (i + 1) * n), shape: [n] }]);
    const loss = lossOf(state.p, batch);
    adam(state, batch, settings);
    return loss;
  });
  return { losses: vector(losses), ...join("parameters", state.p) };
}

const KINDS = { data, batches, metrics, forward, gradients, step, trajectory, dropout };

/** Answer the questions about matrix factorization, and skip all other questions. */
function main(questions, answers) {
  if (!answers) throw new DataError("usage: node ports/javascript/mf.mjs QUESTIONS ANSWERS");
  const asked = readIndex(questions);
  const ours = asked.filter(({ model, kind }) => model === "mf" && Object.hasOwn(KINDS, kind));
  for (const question of ours) {
    const given = readNpz(path.join(questions, `${question.name}.npz`));
    writeNpz(path.join(answers, `${question.name}.npz`), KINDS[question.kind](given, question));
  }
  console.log(`${ours.length} of ${asked.length} questions answered in ${answers}`);
}

function readIndex(folder) {
  const file = path.join(folder, "questions.json");
  if (!fs.existsSync(file)) {
    throw new DataError(`there is no ${file}; run d2l-recsys baseline questions ${folder}`);
  }
  try {
    const { questions } = JSON.parse(fs.readFileSync(file, "utf8"));
    if (!Array.isArray(questions)) throw new Error("it has no list of questions");
    return questions;
  } catch (error) {
    throw new DataError(`${file} cannot be read: ${error.message}`);
  }
}

try {
  main(...process.argv.slice(2));
} catch (error) {
  if (!(error instanceof DataError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
