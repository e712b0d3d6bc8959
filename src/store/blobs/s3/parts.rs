//! Objects in parts, each from whichever replica has it.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::CompletedPart;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use entrepot_kit::{Error, Result, Timestamp};
use md5::{Digest as _, Md5};

use super::client::patient;
use super::failure::{Reason, away, failed, reason};
use super::write::signed;
use super::{Bucket, S3Blobs, chunks};
use crate::store::blobs::places::unique_name_of_unknown;
use crate::store::blobs::{ObjectParts, PartStore, StoredPart};

/// How long a URL takes a part: what began in time is taken to its end.
const UPLOADS_OPEN: Duration = Duration::from_secs(3600);

/// What the bytes must hash to when they have arrived.
async fn md5(bytes: Bytes) -> Result<String> {
    entrepot_kit::blocking(move || Ok(STANDARD.encode(Md5::digest(&bytes)))).await
}

/// Removes the parts of uploads that were begun before a time and never completed; says how many uploads.
pub(super) async fn sweep(bucket: &Bucket, before: Timestamp) -> Result<u64> {
    let mut removed = 0;
    let (mut key, mut id) = (None, None);
    loop {
        let request = bucket.client.list_multipart_uploads().bucket(&*bucket.name).prefix(&*bucket.prefix);
        let page = request.set_key_marker(key).set_upload_id_marker(id).send().await.map_err(|error| failed("cannot list unfinished uploads", error))?;
        for upload in page.uploads() {
            let begun = upload.initiated().and_then(|time| time.to_millis().ok());
            let (Some(key), Some(id), Some(begun)) = (upload.key(), upload.upload_id(), begun) else { continue };
            if begun < before.0 && bucket.name(key).is_some() {
                abort(bucket, key, id).await?;
                removed += 1;
            }
        }
        if page.is_truncated() != Some(true) {
            return Ok(removed);
        }
        (key, id) = (page.next_key_marker().map(str::to_owned), page.next_upload_id_marker().map(str::to_owned));
    }
}

async fn abort(bucket: &Bucket, key: &str, upload: &str) -> Result<()> {
    match bucket.client.abort_multipart_upload().bucket(&*bucket.name).key(key).upload_id(upload).send().await {
        Err(error) if !matches!(reason(&error), Reason::Missing) => Err(failed("cannot remove parts", error)),
        _ => Ok(()),
    }
}

#[async_trait]
impl PartStore for S3Blobs {
    fn new_location(&self) -> Result<String> {
        unique_name_of_unknown()
    }

    async fn begin_parts(&self) -> Result<ObjectParts> {
        let location = self.new_location()?;
        let begun = self.bucket.client.create_multipart_upload().bucket(&*self.bucket.name).key(self.bucket.key(&location)).send().await;
        let upload = begun.map_err(|error| failed("cannot begin an upload", error))?.upload_id;
        Ok(ObjectParts { location, upload: upload.ok_or_else(|| away(String::from("S3: an upload without an id")))? })
    }

    async fn send_part(&self, parts: &ObjectParts, number: i32, bytes: Bytes) -> Result<String> {
        let length = bytes.len() as u64;
        let sum = md5(bytes.clone()).await?;
        let _turn = self.bucket.turn().await?;
        let request = self.bucket.client.upload_part().bucket(&*self.bucket.name).key(self.bucket.key(&parts.location)).upload_id(&parts.upload);
        let request = request.part_number(number).content_md5(sum).content_length(signed(length)?).body(chunks::body(bytes));
        let sent = request.customize().config_override(patient(length)).send().await.map_err(|error| failed("cannot put a part", error))?;
        sent.e_tag.ok_or_else(|| away(String::from("S3: a part without a tag")))
    }

    async fn complete_parts(&self, parts: &ObjectParts, list: &[(i32, String)], size: u64) -> Result<()> {
        let list = list.iter().map(|(number, tag)| CompletedPart::builder().part_number(*number).e_tag(tag).build()).collect();
        self.bucket.complete(&self.bucket.key(&parts.location), &parts.upload, list, size).await
    }

    async fn sign_part(&self, parts: &ObjectParts, number: i32, size: u64) -> Result<String> {
        let expiry = PresigningConfig::expires_in(UPLOADS_OPEN).map_err(Error::internal)?;
        let request = self.bucket.client.upload_part().bucket(&*self.bucket.name).key(self.bucket.key(&parts.location)).upload_id(&parts.upload);
        // The length is signed with the rest: nobody fills the bucket with more than was said.
        let mut request = request.part_number(number).content_length(signed(size)?).customize();
        if let Some(endpoint) = &self.bucket.public_endpoint {
            request = request.config_override(Builder::new().endpoint_url(&**endpoint));
        }
        let signed = request.presigned(expiry).await.map_err(|error| failed("cannot sign a URL", error))?;
        match signed.headers().find(|(name, _)| !name.eq_ignore_ascii_case("content-length")) {
            None => Ok(signed.uri().to_owned()),
            Some((name, _)) => Err(Error::internal(format!("a URL for a part asks for the header {name}"))),
        }
    }

    async fn list_parts(&self, parts: &ObjectParts) -> Result<Option<Vec<StoredPart>>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let request = self.bucket.client.list_parts().bucket(&*self.bucket.name).key(self.bucket.key(&parts.location)).upload_id(&parts.upload);
            let page = match request.set_part_number_marker(after).send().await {
                Ok(page) => page,
                Err(error) if matches!(reason(&error), Reason::Missing) => return Ok(None),
                Err(error) => return Err(failed("cannot list parts", error)),
            };
            found.extend(page.parts().iter().filter_map(|part| {
                let size = part.size().and_then(|size| u64::try_from(size).ok())?;
                Some(StoredPart { number: part.part_number()?, tag: part.e_tag()?.to_owned(), size })
            }));
            after = page.next_part_number_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || after.is_none() {
                return Ok(Some(found));
            }
        }
    }

    async fn abort_parts(&self, parts: &ObjectParts) -> Result<()> {
        abort(&self.bucket, &self.bucket.key(&parts.location), &parts.upload).await
    }

    async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        let length = bytes.len() as u64;
        let sum = md5(bytes.clone()).await?;
        let _turn = self.bucket.turn().await?;
        let request = self.bucket.client.put_object().bucket(&*self.bucket.name).key(self.bucket.key(location)).content_md5(sum);
        let request = request.content_length(signed(length)?).body(chunks::body(bytes));
        request.customize().config_override(patient(length)).send().await.map(drop).map_err(|error| failed("cannot put an object", error))
    }
}
