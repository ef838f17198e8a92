-- How the media of a line or peer is protected: offhook_switch::directory::Srtp.
ALTER TABLE lines ADD COLUMN srtp TEXT NOT NULL DEFAULT 'auto';
ALTER TABLE peers ADD COLUMN srtp TEXT NOT NULL DEFAULT 'auto';
