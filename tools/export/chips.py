"""What does a chip not allow that a kernel chosen on another one may ask for?"""

# Shared memory that a block may have at most, KiB, where it is asked for: CUDA C++ Programming Guide, technical
# specifications per compute capability.
_SHARED_KIB = {75: 64, 80: 163, 86: 99, 87: 163, 88: 163, 89: 99, 90: 227, 100: 227, 103: 227, 110: 227, 120: 99, 121: 99}


def too_much_shared(shared, archs):
    """`shared`: bytes of a block, by kernel; one number for all chips, as the bundle has one. Returns what does not fit, in words."""
    problems = []
    for arch in archs:
        most = _SHARED_KIB.get(arch)
        if most is None:
            continue
        problems.extend(
            f"{kernel}: a block takes {bytes_ / 1024:.0f} KiB of shared memory, and sm_{arch} has {most}"
            for kernel, bytes_ in shared.items() if bytes_ > most * 1024
        )
    return problems
