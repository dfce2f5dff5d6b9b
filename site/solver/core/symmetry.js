/** Another puzzle that is the same: digits renamed, rows and columns moved so that boxes stay boxes. */

/** An array in random order. random: as Math.random. */
export function shuffled(array, random) {
  const mixed = [...array];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
}

/** A function from boards to boards, the same for all that it is given. */
export function symmetry(layout, random) {
  const { side, boxRows, boxCols } = layout;
  const range = (length) => Array.from({ length }, (_, i) => i);
  const lines = (inBand) => // a band of boxes stays together
    shuffled(range(side / inBand), random).flatMap((band) =>
      shuffled(range(inBand), random).map((line) => band * inBand + line));
  const [rows, columns] = [lines(boxRows), lines(boxCols)];
  const turned = boxRows === boxCols && random() < 0.5;
  const digits = [0, ...shuffled(range(side).map((i) => i + 1), random)];
  return (board) => board.map((_, cell) => {
    const [row, column] = [rows[Math.floor(cell / side)], columns[cell % side]];
    return digits[board[turned ? column * side + row : row * side + column]];
  });
}
