// The openai package for Node against a gateway in front of a simulated Ollama: BASE_URL and API_KEY say where, OLLAMA commands the simulation.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { APIError, AuthenticationError, BadRequestError, InternalServerError, NotFoundError } from "openai";
import { zodResponseFormat, zodFunction } from "openai/helpers/zod";
import { z } from "zod";

const { BASE_URL: baseURL, API_KEY: apiKey, OLLAMA: ollama } = process.env;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const model = "llama3.2";
const messages = [{ role: "user", content: "Hello" }];

/** Says what the simulated Ollama answers next, one behaviour for each request. */
async function next(...behaviours) {
  const answer = await fetch(`${ollama}/control/next`, { method: "POST", body: JSON.stringify(behaviours) });
  assert.ok(answer.ok, await answer.text());
}

/** What an async iterable gives, in a list: `Array.fromAsync`, which Node 20 lacks. */
async function collected(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

test("a chat gets its answer and its usage", async () => {
  await next({ text: "Hello there!" });

  const answer = await client.chat.completions.create({ model, messages });

  assert.equal(answer.choices[0].message.content, "Hello there!");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a streamed chat says the same, and its usage last", async () => {
  await next({ text: "Hello there, how are you?" });

  const chunks = await collected(
    await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } }),
  );

  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), "Hello there, how are you?");
  assert.deepEqual(chunks.map((chunk) => chunk.usage !== null), [...Array(chunks.length - 1).fill(false), true]);
});

test("the stream helper folds two choices apart", async () => {
  await next({ text: "One fish." }, { text: "Two fish." });

  const answer = await client.chat.completions.stream({ model, messages, n: 2, seed: 1 }).finalChatCompletion();

  assert.deepEqual(answer.choices.map((choice) => choice.message.content).sort(), ["One fish.", "Two fish."]);
});

for (const stream of [false, true]) {
  test(`the tools runner calls the tool and hands back its result, ${stream ? "streamed" : "whole"}`, async () => {
    await next({ tool_calls: [{ name: "add", arguments: { a: 2, b: 3 } }] }, { text: "It is 5." });
    const calls = [];
    const add = zodFunction({
      name: "add",
      parameters: z.object({ a: z.number(), b: z.number() }),
      function: ({ a, b }) => {
        calls.push([a, b]);
        return String(a + b);
      },
    });

    const runner = client.chat.completions.runTools({ model, messages, tools: [add], stream });

    assert.equal(await runner.finalContent(), "It is 5.");
    assert.deepEqual(calls, [[2, 3]]);
    const turns = runner.messages;
    assert.deepEqual(turns.map((turn) => turn.role), ["user", "assistant", "tool", "assistant"]);
    assert.equal(turns[2].tool_call_id, turns[1].tool_calls[0].id);
  });
}

test("parse with zod gives a value of the schema", async () => {
  const City = z.object({ name: z.string(), inhabitants: z.number().int(), twins: z.array(z.string()) });

  const answer = await client.chat.completions.parse({
    model,
    messages,
    response_format: zodResponseFormat(City, "city"),
  });

  assert.deepEqual(City.parse(answer.choices[0].message.parsed), answer.choices[0].message.parsed);
});

test("parse reads the arguments of a forced call", async () => {
  const tool = zodFunction({ name: "weather", parameters: z.object({ city: z.string(), unit: z.enum(["c", "f"]) }) });

  const answer = await client.chat.completions.parse({ model, messages, tools: [tool], tool_choice: "required" });

  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.equal(typeof answer.choices[0].message.tool_calls[0].function.parsed_arguments.city, "string");
});

test("embeddings in both encodings are the same vectors", async () => {
  const input = ["a cat", "a dog"];

  const packed = await client.embeddings.create({ model: "all-minilm:l6", input });
  const plain = await client.embeddings.create({ model: "all-minilm:l6", input, encoding_format: "float" });

  assert.equal(packed.data.length, 2);
  packed.data[1].embedding.forEach((value, place) => assert.ok(Math.abs(value - plain.data[1].embedding[place]) < 1e-6));
});

test("completions get text, streamed as well", async () => {
  await next({ text: "upon a time" }, { text: "upon a time" });

  const whole = await client.completions.create({ model, prompt: "Once" });
  const chunks = await collected(await client.completions.create({ model, prompt: "Once", stream: true }));

  assert.equal(whole.choices[0].text, "upon a time");
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), "upon a time");
});

test("models are listed and found, with a namespace too", async () => {
  const ids = (await collected(client.models.list())).map((one) => one.id);

  assert.ok(ids.includes("llama3.2:latest") && ids.includes("ada/poet:7b"));
  assert.equal((await client.models.retrieve("ada/poet:7b")).owned_by, "ada");
});

test("errors are of the right class, with code, param and request id", async () => {
  const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });

  await assert.rejects(stranger.models.list(), (error) => {
    return error instanceof AuthenticationError && error.code === "invalid_api_key" && error.requestID !== null;
  });
  await assert.rejects(client.chat.completions.create({ model: "gpt-9", messages }), (error) => {
    return error instanceof NotFoundError && error.code === "model_not_found" && error.param === "model";
  });
  await assert.rejects(client.chat.completions.create({ model, messages: [{ role: "user", content: 2 }] }), (error) => {
    return error instanceof BadRequestError && error.param === "messages[0].content";
  });
  await next({ status: 500, error: "an error was encountered while running the model: unexpected EOF" });
  await assert.rejects(client.chat.completions.create({ model, messages }), (error) => {
    return error instanceof InternalServerError && error.status === 502 && error.code === "upstream_error";
  });
});

test("C19: an error in mid stream is thrown, and the answer is not taken for whole", async () => {
  await next({ text: "one two three four", error_after: 2, error: "the runner died" });

  const stream = await client.chat.completions.create({ model, messages, stream: true });

  await assert.rejects(collected(stream), (error) => error instanceof APIError && error.code === "upstream_error");
});

test("C47: what may be tried again is, after Retry-After; what may not is not", async () => {
  const patient = new OpenAI({ baseURL, apiKey, maxRetries: 2 });
  const full = { status: 503, error: "server busy, please try again.  maximum pending requests exceeded" };
  await next(full, { text: "There was a place." });

  const answer = await patient.chat.completions.create({ model, messages });

  assert.equal(answer.choices[0].message.content, "There was a place.");
  await next({ status: 500, error: "an error was encountered while running the model: unexpected EOF" }, { text: "not asked" });
  await assert.rejects(patient.chat.completions.create({ model, messages }), InternalServerError);
  assert.equal((await client.chat.completions.create({ model, messages })).choices[0].message.content, "not asked");
});
