// NOT THE KERNELS OF THIS BUNDLE. At 16:12:09 UTC a helper session that resumed after an interruption overwrote the
// author's kernels.cu here by mistake, without having looked whether there was one. git never had the file.
// Author: please write your text back over this one. Do not rebuild before that.
// The PTX, hashes and sample made here at 16:12:22 came from the wrong source. Author's PTX of 16:06: /tmp/calypte-helper-recovery/vegetation-map/rewritten-16-06.ptx.
#error "vegetation-map/kernels.cu was overwritten by mistake at 16:12:09; its author must restore it (see the comment above)"
