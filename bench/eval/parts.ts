/**
 * What is measured first, when a GPU is to be had for minutes only? Parts of some eight minutes, by what they decide; each is
 * one call with `--part N`, and all go into one folder. Options that are given beside it count more than the part's.
 *
 * Rounds are compared within themselves, and each part brings its own `exclusive`: so a part that shares its critical work
 * and arrivals with another has other rounds.
 */

export interface Part {
  /** What it decides. */
  text: string;
  /** Options of the command line, without their dashes. */
  options: Readonly<Record<string, string | true>>;
}

const SHARING = "exclusive,priorities,green,timeslice,mps,gating,calypte-anticipated";

export const PARTS: readonly Part[] = [
  {
    text:
      "the plot that decides: one periodic detector beside one background, the strongest of every way to share",
    options: {
      systems: SHARING,
      background: "vegetation",
      arrivals: "periodic-220",
      rounds: "1-5",
      budget: "9m",
    },
  },
  {
    text: "arrivals that cannot be foreseen",
    options: {
      systems: SHARING,
      background: "vegetation",
      arrivals: "poisson-220",
      rounds: "1-5",
      budget: "8m",
    },
  },
  {
    text: "background of blocks of milliseconds, with and without checkpoints in loops",
    options: {
      systems: "exclusive,priorities,timeslice,mps,gating,calypte-anticipated,calypte-block",
      ...{
        background: "long-blocks",
        arrivals: "periodic-100",
        rounds: "1-5",
        requests: "400",
        budget: "8m",
      },
    },
  },
  {
    text: "Calypte's own variants, its tax, and preemption latency; no win follows from three rounds",
    options: {
      systems: "exclusive,calypte-anticipated,calypte,calypte-isolated,calypte-alone,calypte-unlearned",
      ...{
        background: "vegetation",
        arrivals: "periodic-220",
        rounds: "21-23",
        budget: "8m",
        preemption: true,
      },
    },
  },
  {
    text: "critical work of milliseconds, at 40 % load",
    options: {
      ...{ systems: SHARING, critical: "heavy-detector", background: "vegetation", arrivals: "load-40" },
      ...{ rounds: "1-5", requests: "300", budget: "9m" },
    },
  },
  {
    text:
      "every background at once; at this rate some blocks of long-blocks may not end between two requests",
    options: {
      systems: "exclusive,mps,calypte-anticipated",
      background: "transcode,training,stencil,nbody,streamer,thrasher,atomics,grid-sync,long-blocks",
      ...{ arrivals: "periodic-220", rounds: "31-33", budget: "9m" },
    },
  },
  {
    text: "attainment against load",
    options: {
      systems: "exclusive,priorities,mps,timeslice,calypte-anticipated",
      ...{ critical: "heavy-detector", background: "vegetation", arrivals: "load-20,load-60,load-80" },
      ...{ rounds: "1-3", requests: "300", budget: "9m" },
    },
  },
];

/** What the command line would say. Throws if there is no such part. */
export function argsOfPart(number: number): string[] {
  const part = PARTS[number - 1];
  if (part === undefined) throw new Error(`There is no part ${number}: must be 1 to ${PARTS.length}`);
  return Object.entries(part.options).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [`--${name}`, value]
  );
}
