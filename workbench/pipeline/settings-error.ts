// Settings that cannot be meant: they contradict each other, or name what does not exist. One line, found before any work.

export class SettingsError extends Error {
  override readonly name = "SettingsError";
}
