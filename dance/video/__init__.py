"""Videos in and out: `probe`, `read`, `pick`, `write`. PyAV is imported nowhere else."""

from dance.video.decode import pick, read
from dance.video.encode import Encoding, check_output, write
from dance.video.probe import VideoInfo, probe

__all__ = ["Encoding", "VideoInfo", "check_output", "pick", "probe", "read", "write"]
