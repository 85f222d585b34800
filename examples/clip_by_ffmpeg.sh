#!/usr/bin/env bash
# Harmonizes a clip frame by frame, smoothed over time, and keeps its sound.
#
#     clip_by_ffmpeg.sh clip.mp4 masks.mp4 out.mp4 [options of jaxharm harmonize]
#
# masks.mp4: a clip of the same length, white where the object is. Needs ffmpeg and disk space for the frames.
set -euo pipefail
clip=$1 masks=$2 out=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/frames" "$work/frames/masks"
ffmpeg -loglevel error -i "$clip" "$work/frames/%06d.png"
ffmpeg -loglevel error -i "$masks" "$work/frames/masks/%06d.png"
${PYTHON:-python3} -m jaxharm harmonize --folder "$work/frames" -o "$work/made" --temporal "$@"
rate=$(ffprobe -loglevel error -select_streams v:0 -show_entries stream=r_frame_rate -of csv=p=0 "$clip")
ffmpeg -loglevel error -y -framerate "$rate" -i "$work/made/%06d.png" -i "$clip" -map 0:v -map 1:a? \
  -c:a copy -c:v libx264 -crf 16 -pix_fmt yuv420p "$out"
