// Requests to the server that this page came from. Errors are its sentences.

async function checked(response) {
  if (response.ok) return response;
  let sentence = `the server answered ${response.status}`;
  try { sentence = (await response.json()).error ?? sentence; } catch { /* not JSON */ }
  throw new Error(sentence);
}

async function send(path, options) {
  let response;
  try { response = await fetch(path, options); } catch {
    throw new Error("the server does not answer: is it still running?");
  }
  return checked(response);
}

export const get = async path => (await send(path)).json();

export const post = (path, said) => send(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });

export const ask = async (path, said) => (await post(path, said)).json();

export async function upload(file) {
  const form = new FormData();
  form.append("picture", file, file.name);
  return (await send("/studio/pictures", { method: "POST", body: form })).json();
}

export async function save(path, said) {
  const response = await post(path, said);
  const name = /filename="(.*)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "file";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
