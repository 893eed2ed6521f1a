"""Videos in and out: `probe`, `read`, `pick`, `write`, `sound_packets`. PyAV is imported nowhere else."""

from dance.video.decode import pick, read
from dance.video.encode import Encoding, check_output, write
from dance.video.probe import VideoInfo, probe
from dance.video.sound import sound_packets

__all__ = [
    "Encoding",
    "VideoInfo",
    "check_output",
    "pick",
    "probe",
    "read",
    "sound_packets",
    "write",
]
