// Typed calls of the main routes. Compiles only while the OpenAPI document says what this relies on.
import createClient from "openapi-fetch";

import type { components, paths } from "./schema";

type Adapter = components["schemas"]["Adapter"];
type Problem = components["schemas"]["ProblemDetails"];

const client = createClient<paths>({
  baseUrl: "http://127.0.0.1:8000",
  headers: { "X-API-Key": "secret" },
});

function unwrap<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) {
    const errors = answer.error?.errors?.map((each) => `${each.loc.join(".")}: ${each.msg}`) ?? [];
    throw new Error([answer.error?.detail ?? "no answer", ...errors].join("\n"));
  }
  return answer.data;
}

export async function* everyAdapter(question: string): AsyncGenerator<Adapter> {
  let cursor: string | null = null;
  do {
    const query: { q: string; sort: string; limit: number; cursor?: string } = {
      q: question,
      sort: "-downloads",
      limit: 500,
      ...(cursor === null ? {} : { cursor }),
    };
    const page: components["schemas"]["AdapterPage"] = unwrap(
      await client.GET("/api/v1/adapters", { params: { query } }),
    );
    yield* page.items;
    cursor = page.next_cursor;
  } while (cursor !== null);
}

export async function register(name: string, filePath: string): Promise<Adapter> {
  const body = { name, file_path: filePath, tags: ["ink"], weight: 0.75 };
  const { adapter } = unwrap(await client.POST("/api/v1/adapters", { body }));
  return adapter;
}

export async function rename(adapter: Adapter, name: string): Promise<Adapter> {
  const params = { path: { adapter_id: adapter.id } };
  return unwrap(await client.PATCH("/api/v1/adapters/{adapter_id}", { params, body: { name } })).adapter;
}

export async function activate(adapter: Adapter, ordinal: number): Promise<boolean> {
  const params = { path: { adapter_id: adapter.id } };
  return unwrap(await client.POST("/api/v1/adapters/{adapter_id}/activate", { params, body: { ordinal } })).adapter
    .active;
}

export async function remove(adapter: Adapter): Promise<boolean> {
  const params = { path: { adapter_id: adapter.id } };
  return (await client.DELETE("/api/v1/adapters/{adapter_id}", { params })).response.status === 204;
}

export async function compose(): Promise<string> {
  const body = { prefix: "a knight", suffix: "best quality", include_triggers: true };
  const { prompt, tokens, warnings } = unwrap(await client.POST("/api/v1/compose", { body }));
  console.log(tokens.join(", "), warnings.join("\n"));
  return prompt;
}

export async function explain(adapter: Adapter): Promise<string[]> {
  const params = {
    path: { adapter_id: adapter.id },
    query: { limit: 5, weights: JSON.stringify({ semantic: 1, artistic: 1, technical: 0 }) },
  };
  const answer = unwrap(await client.GET("/api/v1/recommendations/similar/{adapter_id}", { params }));
  return answer.recommendations.map(
    (each) => `${each.lora_name} ${each.final_score.toFixed(2)} ${each.explanation ?? ""}`,
  );
}

export async function fitting(prompt: string): Promise<string[]> {
  const body = { prompt, limit: 5, weights: { semantic: 1, artistic: 0.5, technical: 0 } };
  const answer = unwrap(await client.POST("/api/v1/recommendations/prompt", { body }));
  return [
    ...answer.recommendations.map((each) => each.lora_name),
    ...answer.prompt_analysis.suggested_additions.map((each) => each.text),
  ];
}

export async function overview(): Promise<number> {
  const { stats, system_health } = unwrap(await client.GET("/api/v1/dashboard/stats"));
  console.log(system_health.status, stats.by_base_model.map((group) => `${group.value ?? "?"} ${group.count}`));
  return stats.total_loras;
}
