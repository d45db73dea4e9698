// The formats in which Xet clients upload: shards say which chunks a file has, xorbs hold them.

export { shardFiles, type XetFile, type XetTerm } from "./shard.ts";
export { Xorb } from "./xorb.ts";
