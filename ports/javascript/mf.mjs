/**
 * Matrix factorization (section 15.3) in plain JavaScript: a port that answers by files.
 *
 * A rating is the inner product of a user's and an item's latent factors, plus how generously that
 * user rates and how well that item is liked (eq. 15.3.2):
 *
 *     r_hat[u, i] = p_u . q_i + b_u + b_i
 *
 * From the root of the checkout:
 *
 *     d2l-recsys baseline questions QUESTIONS --models mf --rungs 0-5
 *     node ports/javascript/mf.mjs QUESTIONS ANSWERS
 *     d2l-recsys baseline check ANSWERS --models mf --rungs 0-5
 *
 * What is asked is told in `questions.json`. Each function of `KINDS`, below, answers one kind of
 * question: from the `given` arrays and the question itself to the arrays of the answer.
 */

import fs from "node:fs";
import path from "node:path";
import { DataError, readNpz, writeNpz } from "./npz.mjs";

// What weights and gradients are kept in; with Float32Array the check says "right" as well.
const Real = Float64Array;
const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8];

const scalar = (value) => ({ data: Float64Array.of(value), shape: [] });
const vector = (values) => ({ data: Float64Array.from(values), shape: [values.length] });
const triples = (rows) => ({ data: Int32Array.from(rows.flat()), shape: [rows.length, 3] });
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;

/** Each pair of a name and an array as `f` changes it, or left out where that is nothing. */
const change = (arrays, f) =>
  Object.fromEntries(Object.entries(arrays).map(([name, array]) => f(name, array)).filter(Boolean));
const zeros = (arrays) =>
  change(arrays, (name, { data, shape }) => [name, { data: new Real(data.length), shape }]);
/** Those whose name begins with `part/`, by the rest of their name; and the reverse. */
const cut = (arrays, part) =>
  change(arrays, (name, array) =>
    name.startsWith(`${part}/`) ? [name.slice(part.length + 1), array] : null);
const join = (part, arrays) => change(arrays, (name, array) => [`${part}/${name}`, array]);
/** A part as numbers to compute with. */
const reals = (given, part) =>
  change(cut(given, part), (name, { data, shape }) => [name, { data: Real.from(data), shape }]);

// Rung 0.

/**
 * From rows of user, item, rating and timestamp, ids from 1, to rows of user, item and rating, ids
 * from 0. Each user's latest rating is the test set; of those that tie, the first in the file.
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

/** Full batches alone: what does not fill one comes first in the next epoch. */
function batches({ orders, batch_size: { data: [n] } }) {
  const full = orders.data.length - (orders.data.length % n);
  return { batches: { data: orders.data.slice(0, full), shape: [full / n, n] } };
}

// Rung 1.

/**
 * Defined: the RMSE of all ratings (eq. 15.3.4), and the mean loss of an example. Printed: the
 * running mean of the batches' RMSEs, averaged over the batches; and the running sum of the
 * batches' mean losses, added again at each batch and divided by the number of examples.
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

/** Numbers in parts of `size`; the last may be shorter. */
function parts(numbers, size) {
  const count = Math.ceil(numbers.length / size);
  return Array.from({ length: count }, (_, i) => numbers.subarray(i * size, (i + 1) * size));
}

// Rungs 2 and 3.

/** The ratings of the pairs of a batch, from the parameters `p`. */
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

/** The gradients of that sum; an id that comes twice gets both. */
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

function gradients(given) {
  const [p, batch] = [reals(given, "parameters"), cut(given, "batch")];
  return { loss: scalar(lossOf(p, batch)), ...join("gradients", gradientsOf(p, batch)) };
}

// Rungs 4 and 5.

/** Parameters and Adam's moments, which are 0 where none are given. */
function stateOf(given) {
  const p = reals(given, "parameters");
  const [means, variances] = ["means", "variances"]
    .map((part) => ({ ...zeros(p), ...reals(given, part) }));
  return { p, means, variances, steps: given.steps?.data[0] ?? 0 };
}

/**
 * One step of MXNet's Adam, in place. The gradient is the mean over the batch plus weight decay;
 * epsilon is added to the square root of v before the bias of v is corrected.
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

/** A step on each batch; a batch's loss is that before its step. */
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

const KINDS = { data, batches, metrics, forward, gradients, step, trajectory };

/** Answer what is asked about this model, and leave the rest. */
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
    throw new DataError(`there is no ${file}; d2l-recsys baseline questions ${folder} writes it`);
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
