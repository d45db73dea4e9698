// The records of TensorBoard's event files: protobuf messages Event (tensorflow/core/util/event.proto), each framed as a
// TFRecord with its length and masked CRC-32C checksums (tensorflow/core/lib/io/record_writer.h).

import { PbfWriter } from "pbf";

/** Scalars of one step. */
export interface ScalarEvent {
  /** seconds since 1970 */
  wallTime: number;
  step: number;
  /** by tag; stored as float32 */
  scalars: Readonly<Record<string, number>>;
}

/** Numbers of the fields in event.proto and summary.proto. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 };
const SUMMARY = { value: 1 };
const VALUE = { tag: 1, simpleValue: 2 };
const SESSION_LOG = { status: 1 };
const SESSION_START = 1;

/**
 * The first records of a file: its version, and the start of a session at step 0. At the start, a TensorBoard that shows
 * the run already forgets what an earlier file had from that step on.
 * @param wallTime seconds since 1970
 */
export function headRecords(wallTime: number): Uint8Array {
  const version = new PbfWriter();
  version.writeDoubleField(EVENT.wallTime, wallTime);
  version.writeStringField(EVENT.fileVersion, "brain.Event:2");
  const session = new PbfWriter();
  session.writeDoubleField(EVENT.wallTime, wallTime);
  const start = (status: number, pbf: PbfWriter) => pbf.writeVarintField(SESSION_LOG.status, status);
  session.writeMessage(EVENT.sessionLog, start, SESSION_START);
  return Buffer.concat([record(version.finish()), record(session.finish())]);
}

/** The record of the scalars of one step. */
export function scalarRecord({ wallTime, step, scalars }: ScalarEvent): Uint8Array {
  const event = new PbfWriter();
  event.writeDoubleField(EVENT.wallTime, wallTime);
  event.writeVarintField(EVENT.step, step);
  event.writeMessage(EVENT.summary, writeSummary, scalars);
  return record(event.finish());
}

function writeSummary(scalars: ScalarEvent["scalars"], pbf: PbfWriter): void {
  for (const scalar of Object.entries(scalars)) pbf.writeMessage(SUMMARY.value, writeValue, scalar);
}

function writeValue([tag, value]: [string, number], pbf: PbfWriter): void {
  pbf.writeStringField(VALUE.tag, tag);
  pbf.writeFloatField(VALUE.simpleValue, value);
}

/** Frames a message: length (uint64), checksum of the length, message, checksum of the message, little-endian. */
function record(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + message.length + 4);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(message.length), true);
  view.setUint32(8, maskedChecksum(bytes.subarray(0, 8)), true);
  bytes.set(message, 12);
  view.setUint32(12 + message.length, maskedChecksum(message), true);
  return bytes;
}

/** TensorFlow's mask, for checksums of data that contain checksums (tensorflow/core/lib/hash/crc32c.h). */
function maskedChecksum(bytes: Uint8Array): number {
  const sum = crc32c(bytes);
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}

/** The CRC of Castagnoli et al. 1993, reflected. That of node:zlib has another polynomial. */
function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = (sum >>> 8) ^ (CRC_TABLE[(sum ^ byte) & 0xff] as number);
  return ~sum >>> 0;
}

const CASTAGNOLI = 0x82f63b78;
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let entry = byte;
  for (let bit = 0; bit < 8; bit++) entry = entry & 1 ? (entry >>> 1) ^ CASTAGNOLI : entry >>> 1;
  return entry;
});
