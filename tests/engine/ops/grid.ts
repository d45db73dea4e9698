// A float64 matrix for the reference implementations: checked access and sums in place, nothing clever.

export type Values = Float64Array;

export class Grid {
  readonly rows: number;
  readonly columns: number;
  readonly values: Values;

  constructor(rows: number, columns: number, values: Values = new Float64Array(rows * columns)) {
    this.rows = rows;
    this.columns = columns;
    this.values = values;
    if (values.length !== rows * columns) {
      throw new RangeError(`${rows}x${columns} cannot hold ${values.length} values`);
    }
  }

  static from(rows: number, columns: number, entry: (row: number, column: number) => number): Grid {
    const grid = new Grid(rows, columns);
    grid.forEach((row, column) => {
      grid.add(row, column, entry(row, column));
    });
    return grid;
  }

  at(row: number, column: number): number {
    return this.values[this.index(row, column)] as number;
  }

  add(row: number, column: number, value: number): void {
    this.values[this.index(row, column)] = this.at(row, column) + value;
  }

  forEach(visit: (row: number, column: number, value: number) => void): void {
    for (let row = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++) {
        visit(row, column, this.at(row, column));
      }
    }
  }

  eachRow<T>(visit: (row: Values, index: number) => T): T[] {
    return Array.from({ length: this.rows }, (_, row) =>
      visit(this.values.subarray(row * this.columns, (row + 1) * this.columns), row),
    );
  }

  transposed(): Grid {
    return Grid.from(this.columns, this.rows, (row, column) => this.at(column, row));
  }

  private index(row: number, column: number): number {
    if (!(row >= 0 && row < this.rows && column >= 0 && column < this.columns)) {
      throw new RangeError(`(${row}, ${column}) is outside ${this.rows}x${this.columns}`);
    }
    return row * this.columns + column;
  }
}
