/** Keeps the page's files, so that it works without a network: what is new comes first, what is kept second. */
const KEPT = "trm-solver";

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const { files } = await (await fetch("page.json")).json();
    const kept = await caches.open(KEPT);
    await kept.addAll(["./", ...files]);
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !event.request.url.startsWith(self.registration.scope)) return;
  event.respondWith((async () => {
    const kept = await caches.open(KEPT);
    try {
      const fresh = await fetch(event.request);
      if (fresh.ok) await kept.put(event.request, fresh.clone());
      return fresh;
    } catch (fault) {
      const known = await kept.match(event.request, { ignoreSearch: true });
      if (known) return known;
      throw fault;
    }
  })());
});
