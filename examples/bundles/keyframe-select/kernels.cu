// NOT THE KERNELS OF THIS BUNDLE. At 16:12:09 UTC a helper session that resumed after an interruption overwrote the
// author's kernels.cu here by mistake, without having looked whether there was one. git never had the file.
// Author: please write your text back over this one. Do not rebuild before that.
// The PTX beside this file (16:09:54) is still the author's; copy in /tmp/calypte-helper-recovery/keyframe-select.
#error "keyframe-select/kernels.cu was overwritten by mistake at 16:12:09; its author must restore it (see the comment above)"
