"""Upload and download as the S3 vendor's own command line does it: boto3's managed transfer.

python -m tests.benchmarks.transfer up|down NAME FILE|-
"""

import os
import sys

import boto3
from botocore.config import Config


def main() -> None:
    direction, name, file = sys.argv[1:]
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        aws_access_key_id=os.environ["S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["S3_SECRET_KEY"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    bucket = os.environ["S3_BUCKET"]
    if direction == "up":
        with sys.stdin.buffer if file == "-" else open(file, "rb") as source:
            client.upload_fileobj(source, bucket, name)
    else:
        with sys.stdout.buffer if file == "-" else open(file, "wb") as target:
            if file == "-":
                for chunk in client.get_object(Bucket=bucket, Key=name)["Body"].iter_chunks(1 << 20):
                    target.write(chunk)
            else:
                client.download_fileobj(bucket, name, target)


if __name__ == "__main__":
    main()
