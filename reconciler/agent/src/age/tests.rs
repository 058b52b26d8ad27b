use super::*;

#[test]
fn every_recipient_reads_the_text_and_nobody_else() {
    let [a, b, other] = [(); 3].map(|()| Identity::generate().unwrap());
    for length in [0, 1, 65_536, 65_537, 200_000] {
        let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let file = encrypt(&text, &[a.recipient(), b.recipient()]).unwrap();
        for reader in [&a, &b] {
            assert!(*decrypt(&file, reader).unwrap() == text, "{length}");
        }
        assert_eq!(decrypt(&file, &other).err(), Some(AgeError::NotARecipient));
    }
}

#[test]
fn rejects_a_file_that_was_changed_anywhere() {
    let key = Identity::generate().unwrap();
    let file = armor::unwrap(&encrypt(b"hunter2", &[key.recipient()]).unwrap()).unwrap();
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(decrypt(&armor::wrap(&changed), &key).is_err(), "byte {at}");
    }
    for length in 0..file.len() {
        let cut = armor::wrap(&file[..length]);
        assert!(decrypt(&cut, &key).is_err(), "{length} bytes");
    }
}

#[test]
fn keys_are_written_as_age_writes_them() {
    let key = Identity::generate().unwrap();
    let secret = key.to_secret_text().unwrap();
    assert!(secret.starts_with("AGE-SECRET-KEY-1"));
    let again: Identity = secret.parse().unwrap();
    assert_eq!(again.recipient(), key.recipient());
    let public = key.recipient().to_string();
    assert!(public.starts_with("age1") && public.len() == 62, "{public}");
    assert_eq!(public.parse::<Recipient>(), Ok(key.recipient()));
    assert!(secret.parse::<Recipient>().is_err());
    assert!(public.parse::<Identity>().is_err());
}

#[test]
fn reads_a_file_that_age_itself_wrote() {
    let key: Identity = include_str!("testdata/key").trim().parse().unwrap();
    let file = include_str!("testdata/two-recipients.age");
    assert_eq!(**decrypt(file, &key).unwrap(), *b"hunter2\n");
    let windows = file.replace('\n', "\r\n");
    assert_eq!(**decrypt(&windows, &key).unwrap(), *b"hunter2\n");
}

#[test]
fn rejects_armor_that_is_not_strict() {
    let key: Identity = include_str!("testdata/key").trim().parse().unwrap();
    let file = include_str!("testdata/two-recipients.age");
    for other in [
        file.replace("-----BEGIN AGE", "x\n-----BEGIN AGE"),
        file.replacen('\n', "\n\n", 1),
        file.replacen("E-----\n", "E-----\n ", 1),
        file.replace("END AGE ENCRYPTED", "END"),
    ] {
        assert!(decrypt(&other, &key).is_err(), "{other}");
    }
}
