/** @module One line on the terminal that keeps changing; a line per change where there is none. */

export interface Progress {
  update(text: string): void;
  /** Replaces the line for good. */
  end(text: string): void;
}

const refreshMs = 250;
const frames = ["|", "/", "-", "\\"] as const;

/** Starts a progress display on stderr, with the seconds that have passed. */
export function showProgress(): Progress {
  const startedMs = Date.now();
  const isTerminal = process.stderr.isTTY;
  let current = "";
  let frame = 0;

  const draw = (): void => {
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(0);
    process.stderr.write(`\r\u001B[K${frames[frame++ % frames.length]} ${current} (${seconds} s)`);
  };
  const timer = isTerminal ? setInterval(draw, refreshMs) : undefined;

  return {
    update(text) {
      if (text === current) return;
      current = text;
      if (isTerminal) draw();
      else process.stderr.write(`${text}\n`);
    },
    end(text) {
      clearInterval(timer);
      const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
      process.stderr.write(`${isTerminal ? "\r\u001B[K" : ""}${text} after ${seconds} s\n`);
    },
  };
}
