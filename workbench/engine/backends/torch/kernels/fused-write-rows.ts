// Rows written into a tensor in place. One that shares its memory with another gets memory of its own first.

import { engine, type TensorInfo, type Variable } from "@tensorflow/tfjs-core";
import * as names from "../../../ops/kernels.ts";
import { aten, keepOne } from "../aten.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const clone = aten("clone");
const narrow = aten("narrow");
const copyInPlace = aten("copy_");

const CONTIGUOUS_FORMAT = 0; // c10::MemoryFormat

export const fusedWriteRows: KernelTable = {
  [names.WRITE_ROWS]: fusedKernel<names.WriteRowsInputs, names.WriteRowsAttributes>(
    ({ buffer, rows }, { at }, backend) => {
      if (backend.isShared(buffer)) {
        const copy = keepOne(() => clone(buffer, CONTIGUOUS_FORMAT));
        const tensor = engine().makeTensorFromTensorInfo(backend.adopt(copy));
        (buffer as TensorInfo as Variable).assign(tensor);
        tensor.dispose();
      }
      const axis = buffer.shape.length - 2;
      copyInPlace(narrow(buffer, axis, at, rows.shape[axis] as number), rows);
      return [];
    },
  ),
};
