// The fetch that @huggingface/hub uploads with: bodies that are files are streamed, counted, and sent anew at each try.
// It retries every request by itself, so a part of a large file that fails is all that is sent again.

import type { RequestContext } from "../request/context.ts";
import { type HubFetch, hubFetch } from "../request/hub-fetch.ts";
import { FileSlice, sendSlice } from "./file-slice.ts";

/** What the library hangs on requests whose progress is of interest. */
interface Hinted extends RequestInit {
  progressHint?: { path?: string };
}

export interface UploadFetchOptions {
  /** `bytes` more of a file are sent; negative where they have to be sent again */
  onSent: (file: string, bytes: number) => void;
}

export function uploadFetch(context: RequestContext, { onSent }: UploadFetchOptions): HubFetch {
  const sent = new WeakMap<RequestInit, number>();
  const fileOf = (init: RequestInit) => (init as Hinted).progressHint?.path;
  return hubFetch(context, {
    fileOf,
    sendsFile: ({ body }) => body instanceof FileSlice,
    prepare: (init, poke) => {
      const { body } = init;
      if (!(body instanceof FileSlice)) return init;
      const file = fileOf(init) ?? body.path;
      const slice = body.counted((bytes) => {
        poke();
        sent.set(init, (sent.get(init) ?? 0) + bytes);
        onSent(file, bytes);
      });
      return sendSlice(slice, init);
    },
    onFailedTry: (init) => {
      const bytes = sent.get(init) ?? 0;
      if (bytes > 0) onSent(fileOf(init) ?? "", -bytes);
      sent.delete(init);
    },
  });
}
