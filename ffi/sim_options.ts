/** How the simulated device takes its time, and what goes wrong on it. */

/** See calypte_sim_profile in calypte.h. */
export interface SimProfile {
  name: string;
  /** Guessed, not measured. */
  estimate: boolean;
  /** 0: `simSms`. */
  sms: number;
  launchNs: number;
  launchJitterNs: number;
  gateWriteNs: number;
  blockDrainNs: number;
  loopDrainNs: number;
  resumeNs: number;
  resumeJitterNs: number;
  followNs: number;
  skipEntryNs: number;
  skipStepNs: number;
  copyBaseNs: number;
  copyBytesPerUs: number;
  timerP50Ns: number;
  timerP99Ns: number;
  criticalDeviationPpm: number;
  stepDeviationPpm: number;
  clockPermille: number;
  /** CPU and GPU share memory. Default: no. */
  integrated?: boolean;
}

/** See calypte_sim_faults in calypte.h. */
export interface SimFaults {
  lateTimerNs: number;
  lateTimerPpm: number;
  slowPpm: number;
  slowPermille: number;
  lostPpm: number;
  lateEntryNs: number;
  lateEntryPpm: number;
  throttlePermille: number;
  throttleBeginNs: number;
  throttleEndNs: number;
}
