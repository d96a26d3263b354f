// @ts-check
// Files go to the kernel in pieces, one at a time: the next after the answer to the last, so that no message is too big
// for the server and a busy kernel is not flooded.

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/**
 * Give the panel its uploads; a newer one replaces the one that goes on.
 * @param {Panel} panel
 */
function linkUploads(panel) {
  /** @type {{id: string, blob: Blob, name: string, count: number, end: (arrived: boolean) => void} | null} */
  let current = null;
  /** @type {((name: string, part: number | null) => void)[]} */
  const watchers = [];
  const tell = (/** @type {string} */ name, /** @type {number | null} */ part) =>
    watchers.forEach((callback) => callback(name, part));
  const end = (/** @type {boolean} */ arrived) => {
    const ended = current;
    current = null;
    if (ended) tell(ended.name, null);
    ended?.end(arrived);
  };

  panel.onUpload = (callback) => watchers.push(callback);
  panel.stopUpload = () => {
    if (current) panel.send("upload_cancel", { upload: current.id });
    end(false);
  };
  panel.upload = (blob, name, purpose) => {
    if (!panel.live) return Promise.resolve(false);
    const most = panel.get("source").upload_max ?? 0;
    panel.stopUpload();
    panel.complain("");
    if (blob.size > most) {
      panel.complain(
        `${name} has ${megabytes(blob.size)}; allowed: at most ${megabytes(most)}. Type its path instead.`,
      );
      return Promise.resolve(false);
    }
    const id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    return new Promise((resolve) => {
      tell(name, 0);
      const count = panel.send("upload_begin", { upload: id, name, size: blob.size, purpose });
      current = { id, blob, name, count, end: resolve };
    });
  };
  panel.onMessage("upload", async (answer) => {
    const mine = current;
    if (!mine || answer.upload !== mine.id) return;
    if (answer.error) return end(false);
    tell(mine.name, mine.blob.size ? answer.received / mine.blob.size : 1);
    if (answer.done) return end(true);
    const from = answer.received;
    try {
      const piece = await mine.blob.slice(from, from + panel.get("source").piece).arrayBuffer();
      if (current === mine) mine.count = panel.send("upload_piece", { upload: mine.id, offset: from }, [piece]);
    } catch {
      panel.stopUpload();
      panel.complain(`${mine.name} can't be read; a folder can't be taken, and a file that was moved or changed must be chosen again.`);
    }
  });
  // The kernel's own line says why it refused.
  panel.onMessage("heard", ({ count, error }) => error && count === current?.count && end(false));
  panel.onLive((live) => live || end(false));
  panel.onClose(() => end(false));
}

/**
 * Send a file to the kernel; the panel's own lines say what is wrong with it.
 * @param {Panel} panel
 * @param {Blob} blob
 * @param {string} name
 * @param {"source" | "mask"} purpose
 * @returns {Promise<boolean>} whether it arrived
 */
function upload(panel, blob, name, purpose) {
  return panel.upload(blob, name, purpose);
}
