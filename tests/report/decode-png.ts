// Reads a PNG as pixels, to see what was drawn: 8 bits a channel, not interlaced, every filter. For tests only.

import { inflateSync } from "node:zlib";

export interface Pixels {
  width: number;
  height: number;
  /** red, green, blue of a pixel, 0 to 255 */
  at(x: number, y: number): [number, number, number];
}

const CHANNELS: Record<number, number> = { 2: 3, 3: 1, 6: 4 };

export function decodePng(bytes: Uint8Array): Pixels {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = new Map<string, Uint8Array[]>();
  for (let at = 8; at < bytes.length; ) {
    const length = view.getUint32(at);
    const type = new TextDecoder().decode(bytes.subarray(at + 4, at + 8));
    chunks.set(type, [...(chunks.get(type) ?? []), bytes.subarray(at + 8, at + 8 + length)]);
    at += 12 + length;
  }
  const head = chunks.get("IHDR")?.[0] as Uint8Array;
  const sizes = new DataView(head.buffer, head.byteOffset);
  const [width, height] = [sizes.getUint32(0), sizes.getUint32(4)];
  const channels = CHANNELS[head[9] as number];
  if (head[8] !== 8 || channels === undefined || head[12] !== 0) throw new Error("a kind of PNG that is not read here");
  const rows = unfilter(inflateSync(Buffer.concat(chunks.get("IDAT") as Uint8Array[])), width * channels, channels);
  const palette = chunks.get("PLTE")?.[0];
  const at = (x: number, y: number): [number, number, number] => {
    const pixel = (rows[y] as Uint8Array).subarray(x * channels, x * channels + 3);
    const color = channels === 1 ? (palette as Uint8Array).subarray(3 * (pixel[0] as number)) : pixel;
    return [color[0] as number, color[1] as number, color[2] as number];
  };
  return { width, height, at };
}

function unfilter(data: Uint8Array, length: number, step: number): Uint8Array[] {
  const rows: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += length + 1) {
    const row = data.slice(at + 1, at + 1 + length);
    const above = rows.at(-1) ?? new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const [left, up, corner] = [row[i - step] ?? 0, above[i] as number, i < step ? 0 : (above[i - step] as number)];
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][data[at] as number] as number;
      row[i] = (row[i] as number) + guess;
    }
    rows.push(row);
  }
  return rows;
}

function paeth(left: number, up: number, corner: number): number {
  const near = (value: number) => Math.abs(left + up - corner - value);
  if (near(left) <= near(up) && near(left) <= near(corner)) return left;
  return near(up) <= near(corner) ? up : corner;
}

/** How bright a color is to the eye, 0 to 1 (ITU-R BT.709, gamma undone). */
export function luminance(color: readonly number[]): number {
  const [red, green, blue] = color.map((value) => (value / 255) ** 2.2) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
